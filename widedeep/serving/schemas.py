"""What requests and answers look like in JSON.

What is found, as JSON values in the shapes of `messages`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from math import fsum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.serving.item_search import ItemCards
from widedeep.serving.ranker import Ranking
from widedeep.serving.service import RefusedVersion, ServingState
from widedeep.serving.serving_model import Reason, Recommendation, ServingModel

MOST_CANDIDATES = 1000
MOST_RECOMMENDED = 100
EARLIEST = 631_152_000
"""1990 in UNIX seconds: a rating that claims to be older is a mistake."""

_LEAST, _MOST = -(2**63), 2**63 - 1
_MOST_READABLE = 10**18 - 1

Token = Annotated[int, Field(ge=_LEAST, le=_MOST)]
StrictToken = Annotated[int, Field(ge=_LEAST, le=_MOST, strict=True)]
ReadableToken = Annotated[int, Field(ge=0, le=_MOST_READABLE, strict=True)]
Count = Annotated[int, Field(ge=1, le=MOST_CANDIDATES, strict=True)]


class ErrorType(StrEnum):
    """What is wrong, for programs."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    TOO_MANY_REQUESTS = "too_many_requests"
    TIMEOUT = "timeout"
    NO_CHAMPION = "no_champion"
    STORAGE = "storage"
    INTERNAL = "internal"


class Problem(BaseModel):
    """What is wrong: `type` for programs, `message` for people."""

    type: ErrorType
    message: str


class ErrorAnswer(BaseModel):
    """Every error looks like this."""

    error: Problem


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RankRequest(_Request):
    """Candidates to be ranked for a user; strangers are cold ones."""

    user: StrictToken
    candidates: Annotated[list[StrictToken], Field(min_length=1, max_length=MOST_CANDIDATES)]
    k: Count = 10


class FeedbackRequest(_Request):
    """A user action; `time` (UNIX seconds) is now if it is not given, and is never in the future.

    Ids are not negative and have at most 18 digits, as in rating files.
    """

    user: ReadableToken
    item: ReadableToken
    value: Annotated[int, Field(ge=1, le=10, strict=True)]
    time: Annotated[int, Field(ge=EARLIEST, le=_MOST_READABLE, strict=True)] | None = None


class ModelName(BaseModel):
    """Which model answers."""

    name: str
    version: str


class RankedItem(BaseModel):
    """A item and P(positive)."""

    item: int
    probability: float


class RankAnswer(BaseModel):
    """Best first; each candidate once."""

    model: ModelName
    items: list[RankedItem]


class ItemCardAnswer(BaseModel):
    """A item; `people` are its leading roles."""

    item: int
    korean: str
    english: str
    year: int | None
    grade: str | None
    genres: list[str]
    countries: list[str]
    people_korean: list[str]
    people_english: list[str]


class ItemsAnswer(BaseModel):
    """The best match first."""

    items: list[ItemCardAnswer]


class FiredItem(BaseModel):
    """A wide feature that is present, in words, and what it adds to the logit."""

    block: str
    korean: str
    english: str
    weight: float


class SimilarItem(BaseModel):
    """A item the user liked, and the cosine of the two items' embeddings."""

    item: int
    korean: str
    english: str
    similarity: float


class WhyItem(BaseModel):
    """bias + offset + wide + deep = logit; `fired` are the heaviest of the wide features."""

    bias: float
    offset: float
    wide: float
    deep: float
    logit: float
    fired: list[FiredItem]
    similar: list[SimilarItem]


class RecommendedItem(BaseModel):
    """A item in a list, the sources of retrieval that proposed it, and why it is there if asked."""

    item: int
    probability: float
    sources: list[str]
    card: ItemCardAnswer
    why: WhyItem | None = None


class RecommendAnswer(BaseModel):
    """Best first; nothing that the user has rated."""

    model: ModelName
    user: int
    items: list[RecommendedItem]


class FeedbackAnswer(BaseModel):
    """The rating is on the disk. A repeat of a pair is kept, too, but the first one counts."""

    user: int
    item: int
    value: int
    time: int
    superseded: bool


class FeedbackItem(BaseModel):
    """A rating that counts."""

    user: int
    item: int
    value: int
    time: int
    card: ItemCardAnswer


class UserAnswer(BaseModel):
    """A user's ratings, the newest first; none for a stranger."""

    user: int
    ratings: list[FeedbackItem]


class NewUserAnswer(BaseModel):
    """An id that nobody has."""

    user: int


class RefusedAnswer(BaseModel):
    """A version that did not get to serve."""

    version: str
    reason: str
    at: str


class HealthAnswer(BaseModel):
    """`ok`, and which model answers, and what was refused last if that was after it."""

    status: str
    model: ModelName
    refused: RefusedAnswer | None


class DecisionItem(BaseModel):
    """A decision on the model."""

    at: str
    version: str
    action: str
    reason: str
    champion_version: str | None
    replaced_version: str | None
    by: str | None


class ModelAnswer(BaseModel):
    """Which model answers, since when, by which decision, and all decisions, the oldest first.

    `precision` is that of its matrix products: float32 or bfloat16.
    """

    name: str
    version: str
    precision: str
    since: str
    promoted: DecisionItem | None
    refused: list[RefusedAnswer]
    history: list[DecisionItem]


def problem(kind: ErrorType, message: str) -> dict[str, Any]:
    """An `ErrorAnswer` as JSON values."""
    return {"error": {"type": kind.value, "message": message}}


Json = dict[str, Any]

_HEAVIEST = 8
_DECISION = ("at", "version", "action", "reason", "champion_version", "replaced_version", "by")


def name_view(bundle: ServingModel) -> Json:
    """Which model answers."""
    return {"name": bundle.version.model, "version": bundle.version.number}


def rank_view(bundle: ServingModel, ranking: Ranking) -> Json:
    """A `RankAnswer`."""
    items = [{"item": one.item, "probability": one.probability} for one in ranking]
    return {"model": name_view(bundle), "items": items}


def recommended_view(
    bundle: ServingModel, user: int, found: Sequence[Recommendation], reasons: Sequence[Reason]
) -> Json:
    """A `RecommendAnswer`; without reasons none is told."""
    told: list[Json | None] = [why_view(reason, bundle.cards) for reason in reasons]
    told = told or [None] * len(found)
    items = [
        {**asdict(one), "card": item_view(bundle.cards, one.item), "why": why}
        for one, why in zip(found, told, strict=True)
    ]
    return {"model": name_view(bundle), "user": user, "items": items}


def why_view(reason: Reason, cards: ItemCards) -> Json:
    """A `WhyItem`: features of weight 0 say nothing, so they are left out."""
    explanation = reason.explanation
    fired = [asdict(one) for one in explanation.wide if one.weight]
    return {
        "bias": explanation.bias,
        "offset": explanation.offset,
        "wide": fsum(one.weight for one in explanation.wide),
        "deep": explanation.deep,
        "logit": explanation.logit,
        "fired": fired[:_HEAVIEST],
        "similar": [_similar_view(cards, one.item, one.similarity) for one in reason.similar],
    }


def item_view(cards: ItemCards, item: int) -> Json:
    """A `ItemCard`."""
    return asdict(cards.get(item))


def items_view(cards: ItemCards, items: Sequence[int]) -> Json:
    """A `ItemsAnswer`."""
    return {"items": [item_view(cards, item) for item in items]}


def user_view(cards: ItemCards, user: int, ratings: Sequence[FeedbackEvent]) -> Json:
    """A `UserAnswer`."""
    items = [{**event_view(one), "card": item_view(cards, one.item)} for one in reversed(ratings)]
    return {"user": user, "ratings": items}


def event_view(event: FeedbackEvent) -> Json:
    """Its columns."""
    return asdict(event)


def health_view(serving: ServingState, refused: Sequence[RefusedVersion]) -> Json:
    """A `HealthAnswer`."""
    return {
        "status": "ok",
        "model": name_view(serving.bundle),
        "refused": refused_view(refused[-1]) if refused else None,
    }


def model_view(
    serving: ServingState, refused: Sequence[RefusedVersion], decisions: Sequence[Mapping[str, Any]]
) -> Json:
    """A `ModelAnswer`."""
    version = serving.bundle.version
    history = [{name: one.get(name) for name in _DECISION} for one in decisions]
    moves = [one for one in history if one["champion_version"] != one["replaced_version"]]
    ours = [one for one in moves if one["champion_version"] == version.number]
    return {
        "name": version.model,
        "version": version.number,
        "precision": serving.bundle.ranker.precision.value,
        "since": serving.since,
        "promoted": ours[-1] if ours else None,
        "refused": [refused_view(one) for one in refused],
        "history": history,
    }


def refused_view(refused: RefusedVersion) -> Json:
    """A `RefusedVersion`."""
    return {"version": refused.number, "reason": refused.reason, "at": refused.at}


def _similar_view(cards: ItemCards, item: int, similarity: float) -> Json:
    card = cards.get(item)
    return {
        "item": item,
        "korean": card.korean,
        "english": card.english,
        "similarity": similarity,
    }
