"""What requests and answers look like in JSON."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

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


class RatingRequest(_Request):
    """A user action; `time` (UNIX seconds) is now if it is not given, and is never in the future.

    Ids are not negative and have at most 18 digits, as in rating files.
    """

    user: ReadableToken
    movie: ReadableToken
    rate: Annotated[int, Field(ge=1, le=10, strict=True)]
    time: Annotated[int, Field(ge=EARLIEST, le=_MOST_READABLE, strict=True)] | None = None


class ModelName(BaseModel):
    """Which model answers."""

    name: str
    version: str


class RankedItem(BaseModel):
    """A movie and P(positive)."""

    movie: int
    probability: float


class RankAnswer(BaseModel):
    """Best first; each candidate once."""

    model: ModelName
    items: list[RankedItem]


class FilmCard(BaseModel):
    """A film; `people` are its leading roles."""

    movie: int
    korean: str
    english: str
    year: int | None
    grade: str | None
    genres: list[str]
    countries: list[str]
    people_korean: list[str]
    people_english: list[str]


class FilmsAnswer(BaseModel):
    """The best match first."""

    items: list[FilmCard]


class FiredItem(BaseModel):
    """A wide feature that is present, in words, and what it adds to the logit."""

    block: str
    korean: str
    english: str
    weight: float


class SimilarItem(BaseModel):
    """A film the user liked, and the cosine of the two films' embeddings."""

    movie: int
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
    """A film in a list, the sources of retrieval that proposed it, and why it is there if asked."""

    movie: int
    probability: float
    sources: list[str]
    film: FilmCard
    why: WhyItem | None = None


class RecommendAnswer(BaseModel):
    """Best first; nothing that the user has rated."""

    model: ModelName
    user: int
    items: list[RecommendedItem]


class RatingAnswer(BaseModel):
    """The rating is on the disk. A repeat of a pair is kept, too, but the first one counts."""

    user: int
    movie: int
    rate: int
    time: int
    superseded: bool


class RatedItem(BaseModel):
    """A rating that counts."""

    user: int
    movie: int
    rate: int
    time: int
    film: FilmCard


class UserAnswer(BaseModel):
    """A user's ratings, the newest first; none for a stranger."""

    user: int
    ratings: list[RatedItem]


class NewUserAnswer(BaseModel):
    """An id that nobody has."""

    user: int


class RefusedVersion(BaseModel):
    """A version that did not get to serve."""

    version: str
    reason: str
    at: str


class HealthAnswer(BaseModel):
    """`ok`, and which model answers, and what was refused last if that was after it."""

    status: str
    model: ModelName
    refused: RefusedVersion | None


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
    refused: list[RefusedVersion]
    history: list[DecisionItem]


def problem(kind: ErrorType, message: str) -> dict[str, Any]:
    """An `ErrorAnswer` as JSON values."""
    return {"error": {"type": kind.value, "message": message}}
