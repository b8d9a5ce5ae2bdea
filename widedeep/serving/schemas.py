"""The JSON of requests and answers of the HTTP interface.

Requests are pydantic models that refuse unknown fields. Answers are frozen dataclasses: orjson
writes them as they are, and FastAPI describes the same classes in `/openapi.json`, so no answer is
copied or validated on its way out. They have no slots and no base class: orjson needs five times as
long for a class with slots, and leaves inherited slots out. Types of the library whose fields are
the contract already (`RankedItem`, `ItemCard`, `FiredFeature`, `SimilarItem`, `RefusedVersion`)
stand in answers directly: renaming one of their fields changes the interface.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from math import fsum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from widedeep.evaluation.explain import FiredFeature
from widedeep.serving.explainer import Reason, SimilarItem
from widedeep.serving.item_search import ItemCard, ItemCards
from widedeep.serving.ranker import RankedItem
from widedeep.serving.service import RefusedVersion, ServingState
from widedeep.serving.serving_model import Recommendation, ServedVersion

MAX_CANDIDATES = 1000
MAX_RECOMMENDED = 100
EARLIEST_TIME = 631_152_000
"""1990 in UNIX seconds: feedback that claims to be older is a mistake."""

_MIN_INT64, _MAX_INT64 = -(2**63), 2**63 - 1
_MAX_18_DIGITS = 10**18 - 1
_HEAVIEST_FIRED = 8

Id = Annotated[int, Field(ge=_MIN_INT64, le=_MAX_INT64)]
"""An id in a path, where it is text."""
StrictId = Annotated[int, Field(ge=_MIN_INT64, le=_MAX_INT64, strict=True)]
"""An id in a JSON body, where text is refused."""
LoggedId = Annotated[int, Field(ge=0, le=_MAX_18_DIGITS, strict=True)]
"""An id that is written to the feedback log: what ingest can read back."""


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RankRequest(_Request):
    """Candidates to be ranked for a user; unknown ids are treated as new users and new items."""

    user: StrictId
    candidates: Annotated[list[StrictId], Field(min_length=1, max_length=MAX_CANDIDATES)]
    k: Annotated[int, Field(ge=1, le=MAX_CANDIDATES, strict=True)] = 10


class FeedbackRequest(_Request):
    """A rating from 1 to 10; `time` (UNIX seconds, never in the future) is now if left out.

    Ids are not negative and have at most 18 digits, as in rating files.
    """

    user: LoggedId
    item: LoggedId
    value: Annotated[int, Field(ge=1, le=10, strict=True)]
    time: Annotated[int, Field(ge=EARLIEST_TIME, le=_MAX_18_DIGITS, strict=True)] | None = None


class ErrorType(StrEnum):
    """The kind of an error, for programs; each has one HTTP status, see `ERROR_STATUS`."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    TOO_MANY_REQUESTS = "too_many_requests"
    TIMEOUT = "timeout"
    NO_CHAMPION = "no_champion"
    STORAGE = "storage"
    INTERNAL = "internal"


ERROR_STATUS = {
    ErrorType.NOT_FOUND: 404,
    ErrorType.METHOD_NOT_ALLOWED: 405,
    ErrorType.TOO_LARGE: 413,
    ErrorType.INVALID: 422,
    ErrorType.TOO_MANY_REQUESTS: 429,
    ErrorType.INTERNAL: 500,
    ErrorType.NO_CHAMPION: 503,
    ErrorType.TIMEOUT: 504,
    ErrorType.STORAGE: 507,
}


@dataclass(frozen=True)
class Problem:
    """What went wrong: `type` for programs, `message` for readers."""

    type: ErrorType
    message: str


@dataclass(frozen=True)
class ErrorAnswer:
    """The body of every answer with a status of 400 or more."""

    error: Problem


@dataclass(frozen=True)
class ModelName:
    """The registered model and its version that answered."""

    name: str
    version: str

    @classmethod
    def from_version(cls, version: ServedVersion) -> Self:
        """Return the name and number of a version, without its folders."""
        return cls(version.model, version.number)


@dataclass(frozen=True)
class RankAnswer:
    """The best candidates first, each once."""

    model: ModelName
    items: tuple[RankedItem, ...]


@dataclass(frozen=True)
class Why:
    """The logit of an item taken apart: bias + offset + wide + deep = logit.

    `wide` is the sum over all wide features that fired, `fired` the heaviest of them. `similar` are
    the items that the user liked whose deep embeddings are nearest.
    """

    bias: float
    offset: float
    wide: float
    deep: float
    logit: float
    fired: tuple[FiredFeature, ...]
    similar: tuple[SimilarItem, ...]

    @classmethod
    def from_reason(cls, reason: Reason) -> Self:
        """Sum up a reason; features of weight 0 explain nothing and are left out."""
        explanation = reason.explanation
        fired = [feature for feature in explanation.wide if feature.weight]
        return cls(
            explanation.bias,
            explanation.prior_logit,
            fsum(feature.weight for feature in fired),
            explanation.deep,
            explanation.logit,
            tuple(fired[:_HEAVIEST_FIRED]),
            reason.similar,
        )


@dataclass(frozen=True)
class RecommendedItem:
    """An item of a list, the candidate sources that proposed it, and `why` if `explain` is set."""

    item: int
    probability: float
    sources: tuple[str, ...]
    card: ItemCard
    why: Why | None = None


@dataclass(frozen=True)
class RecommendAnswer:
    """The best items first, without those that the user has rated."""

    model: ModelName
    user: int
    items: tuple[RecommendedItem, ...]


def recommended_items(
    cards: ItemCards, recommendations: Sequence[Recommendation], reasons: Sequence[Reason]
) -> tuple[RecommendedItem, ...]:
    """Add to each recommendation its card and, unless `reasons` is empty, its reason."""
    whys: list[Why | None] = [Why.from_reason(reason) for reason in reasons]
    whys = whys or [None] * len(recommendations)
    return tuple(
        RecommendedItem(entry.item, entry.probability, entry.sources, cards.get(entry.item), why)
        for entry, why in zip(recommendations, whys, strict=True)
    )


@dataclass(frozen=True)
class FeedbackAnswer:
    """Feedback now on the disk; `superseded` if an earlier rating of the pair counts instead."""

    user: int
    item: int
    value: int
    time: int
    superseded: bool


@dataclass(frozen=True)
class RatedItem:
    """A rating that counts, with the item's card."""

    user: int
    item: int
    value: int
    time: int
    card: ItemCard


@dataclass(frozen=True)
class UserAnswer:
    """A user's ratings, the newest first; an unknown user has none."""

    user: int
    ratings: tuple[RatedItem, ...]


@dataclass(frozen=True)
class NewUserAnswer:
    """A user id that has no ratings yet."""

    user: int


@dataclass(frozen=True)
class ItemsAnswer:
    """Items that match a search, the best match first."""

    items: tuple[ItemCard, ...]


@dataclass(frozen=True)
class HealthAnswer:
    """`status` is "ok"; `refused` is the newest version that could not be put into service."""

    status: str
    model: ModelName
    refused: RefusedVersion | None


@dataclass(frozen=True)
class LoggedDecision:
    """A decision on a registered model as the decision log has it."""

    at: str
    version: str
    action: str
    reason: str
    champion_version: str | None
    replaced_version: str | None
    by: str | None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Pick the fields out of a record of the decision log; absent ones are None."""
        values: dict[str, Any] = {field.name: record.get(field.name) for field in fields(cls)}
        return cls(**values)


@dataclass(frozen=True)
class ModelAnswer:
    """The model that answers, since when, by which decision, and all decisions, oldest first.

    `precision` is that of its matrix products: float32 or bfloat16.
    """

    name: str
    version: str
    precision: str
    since: str
    promoted: LoggedDecision | None
    refused: tuple[RefusedVersion, ...]
    history: tuple[LoggedDecision, ...]

    @classmethod
    def from_records(
        cls,
        serving: ServingState,
        refused: tuple[RefusedVersion, ...],
        records: Sequence[Mapping[str, Any]],
    ) -> Self:
        """Find the newest of the logged decisions that made the serving version champion."""
        version = serving.model.version
        history = tuple(LoggedDecision.from_record(record) for record in records)
        promotions = [
            decision
            for decision in history
            if decision.champion_version != decision.replaced_version
            and decision.champion_version == version.number
        ]
        return cls(
            version.model,
            version.number,
            serving.model.ranker.precision.value,
            serving.since,
            promotions[-1] if promotions else None,
            refused,
            history,
        )
