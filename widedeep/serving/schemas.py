"""The JSON of requests and answers of the HTTP interface.

Requests are pydantic models that refuse unknown fields. Answers are frozen dataclasses: orjson
writes them as they are, and FastAPI describes the same classes in `/openapi.json`, so no answer is
copied or validated on its way out. They have no slots and no base class: orjson needs five times as
long for a class with slots, and leaves inherited slots out. Types of the library whose fields are
the contract already (`RankedItem`, `ItemCard`, `FiredFeature`, `SimilarItem`, `RefusedVersion`)
stand in answers directly: renaming one of their fields changes the interface.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import fsum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from widedeep.data.dataset import DatasetSpec
from widedeep.data.feedback_log import FeedbackEvent
from widedeep.data.ids import id_key, id_text
from widedeep.evaluation.explain import FiredFeature
from widedeep.features import FeatureTables
from widedeep.features.request import RequestFeatures
from widedeep.inputs import InputError
from widedeep.serving.explainer import Reason, SimilarItem
from widedeep.serving.item_search import ItemCard, ItemCards
from widedeep.serving.ranker import RankedItem
from widedeep.serving.service import RefusedVersion
from widedeep.serving.serving_model import Recommendation, ServedVersion

MAX_CANDIDATES = 1000
MAX_RECOMMENDED = 100
EARLIEST_TIME = 631_152_000
"""1990 in UNIX seconds: feedback that claims to be older is a mistake."""

_LATEST_TIME = 10**18 - 1
_HEAVIEST_FIRED = 8
_LONGEST_ID = 200

_ID_PATTERN = r"^[^\x00-\x1f\x7f]+$"
PathId = Annotated[str, Field(min_length=1, max_length=_LONGEST_ID, pattern=_ID_PATTERN)]
"""An id in a path."""
Id = Annotated[int, Field(strict=True)] | Annotated[PathId, Field(strict=True)]
"""An id in a JSON body: an integer, or text without control characters."""
Value = (
    Annotated[bool, Field(strict=True)]
    | Annotated[int, Field(strict=True)]
    | Annotated[float, Field(strict=True)]
    | Annotated[str, Field(strict=True, max_length=_LONGEST_ID)]
    | list[str]
    | None
)
"""The value of a feature; null is a missing one."""
Features = Annotated[dict[str, Value], Field(max_length=100)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _WithFeatures(_Request):
    """A request that may say something of the context and the user.

    What it leaves out is missing, or as it is known of the user; a value that the model has never
    seen is out of vocabulary.
    """

    context: Features = {}
    user_features: Features = {}

    def given(self, tables: FeatureTables) -> RequestFeatures:
        """Return the features; raise InputError if a name is none of the data's."""
        given = RequestFeatures(self.context, self.user_features)
        given.check(tables)
        return given


class RankRequest(_WithFeatures):
    """Candidates to be ranked for a user; unknown ids are treated as new users and new items.

    Without a user, the request is that of a new one.
    """

    user: Id | None = None
    candidates: Annotated[list[Id], Field(min_length=1, max_length=MAX_CANDIDATES)]
    k: Annotated[int, Field(ge=1, le=MAX_CANDIDATES, strict=True)] = 10


class RecommendRequest(_WithFeatures):
    """What a list is asked for, besides its user."""

    k: Annotated[int, Field(ge=1, le=MAX_RECOMMENDED, strict=True)] = 10
    explain: Annotated[bool, Field(strict=True)] = False
    audience_age: Annotated[int, Field(ge=0, le=150, strict=True)] | None = None


class FeedbackRequest(_Request):
    """What a user did with an item, at `time` (UNIX seconds, never in the future; now by default).

    `GET /model` says whether the data have values, of which range, and whether the label follows
    from the value; otherwise `label` is required.
    """

    user: Id
    item: Id
    value: Annotated[float, Field(strict=True, allow_inf_nan=False)] | None = None
    label: Annotated[bool, Field(strict=True)] | None = None
    time: Annotated[int, Field(ge=EARLIEST_TIME, le=_LATEST_TIME, strict=True)] | None = None
    context: Features = {}
    user_features: Features = {}

    def to_event(self, spec: DatasetSpec, tables: FeatureTables, now: int) -> FeedbackEvent:
        """Return the event that is logged.

        Raises:
            InputError: The value or label is missing or out of range, the time is in the future, or
                a name is no feature of the context.
        """
        at = now if self.time is None else self.time
        if at > now:
            raise InputError(f"time: {at} is in the future; it is {now} now")
        RequestFeatures(self.context, self.user_features).check(tables)
        given = {**self.user_features, **self.context}
        value, label = spec.interactions.read_feedback(self.value, self.label)
        keys = id_key(self.user), id_key(self.item)
        return FeedbackEvent(*keys, value, at, label, given, id_text(self.user), id_text(self.item))


class ErrorType(StrEnum):
    """The kind of an error, for programs; each has one HTTP status, see `ERROR_STATUS`."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    TOO_MANY_REQUESTS = "too_many_requests"
    TIMEOUT = "timeout"
    LOADING = "loading"
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
    ErrorType.LOADING: 503,
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
class RankedId:
    """An item's id as it stands in the data, and P(positive), between 0 and 1."""

    item: int | str
    probability: float


@dataclass(frozen=True)
class RankAnswer:
    """The best candidates first, each once."""

    model: ModelName
    items: tuple[RankedItem, ...] | tuple[RankedId, ...]


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

    item: int | str
    probability: float
    sources: tuple[str, ...]
    card: ItemCard
    why: Why | None = None


@dataclass(frozen=True)
class RecommendAnswer:
    """The best items first, without those that the user has rated."""

    model: ModelName
    user: int | str
    items: tuple[RecommendedItem, ...]


def recommended_items(
    cards: ItemCards, recommendations: Sequence[Recommendation], reasons: Sequence[Reason]
) -> tuple[RecommendedItem, ...]:
    """Add to each recommendation its card and, unless `reasons` is empty, its reason."""
    whys: list[Why | None] = [Why.from_reason(reason) for reason in reasons]
    whys = whys or [None] * len(recommendations)
    shown = [cards.get(entry.item) for entry in recommendations]
    return tuple(
        RecommendedItem(card.item, entry.probability, entry.sources, card, why)
        for entry, card, why in zip(recommendations, shown, whys, strict=True)
    )


@dataclass(frozen=True)
class FeedbackAnswer:
    """Feedback now on the disk; `superseded` if an earlier one of the pair counts instead."""

    user: int | str
    item: int | str
    value: float
    label: bool
    time: int
    superseded: bool


@dataclass(frozen=True)
class RatedItem:
    """An interaction that counts, with the item's card."""

    user: int | str
    item: int | str
    value: float
    label: bool
    time: int
    card: ItemCard


@dataclass(frozen=True)
class UserAnswer:
    """A user's interactions, the newest first; an unknown user has none."""

    user: int | str
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
