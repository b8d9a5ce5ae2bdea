"""Settings of retrieval, and what was tried."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from widedeep.errors import InputError
from widedeep.serving import co_liked, nearest, popularity, shared_attributes
from widedeep.serving.co_liked import CoLikedConfig

_WEIGHTS = {
    popularity.NAME: 1.0,
    co_liked.NAME: 1.0,
    shared_attributes.NAME: 0.1,
    nearest.NAME: 0.1,
}
SOURCES = tuple(_WEIGHTS)


@dataclass(frozen=True, slots=True)
class RetrievalConfig:
    """Settings.

    `half_life` of a like's share in popularity, in days. A user is known by the newest `likes`,
    each of which weighs `fading` times the one after it. A movie at place i (from 0) of a source's
    list gets the source's `weights` / (`constant` + 1 + i) of its score in the merged list.

    Chosen on KMRD-small's validation part, streaming; recall@20 / @100.
    Half-life, all users: 3 days .448 / .738, 14 .500 / .762, 30 .506 / .789, 60 .498 / .802,
    120 .485 / .804.
    Of users with a like (3,090 positives, standard error .009 / .007), co-liked by (power,
    shrinkage), 20 likes: (0, 0) .415 / .769, (.25, 5) .425 / .770, (.35, 5) .429 / .769, (.5, 0)
    .402 / .728, (.5, 20) .427 / .765. By likes and fading, (.25, 5): 5, 1 .431 / .770, 20, 1
    .425 / .770, 20, .9 .429 / .772, all, .9 .429 / .773; they move the two others by at most .014
    (similar .174 / .307, nearest .070 / .243).
    Merged by (constant, weights in the order of the sources): (10, 1 1 .1 .1) .459 / .791,
    (10, 1 1 0 0) .458 / .791, (10, 1 1 .25 .25) .463 / .783, (10, 1 1 1 1) .440 / .722,
    (10, 1 2 0 0) .454 / .786, (0, 1 1 0 0) .463 / .791, (60, 1 1 1 1) .404 / .760,
    (60, 1 1 .1 .1) .442 / .790; with lists of 200, the chosen ones .460 / .785. So the two
    weak sources find no more of what was rated; they stay, lightly, because they alone name films
    that few or none have liked.
    """

    half_life: float = 60.0
    likes: int = 20
    fading: float = 0.9
    constant: float = 10.0
    weights: Mapping[str, float] = field(default_factory=lambda: dict(_WEIGHTS))
    co_liked: CoLikedConfig = field(default_factory=CoLikedConfig)

    def __post_init__(self) -> None:
        if self.likes < 1 or not 0 < self.fading <= 1:
            raise InputError(f"{self}: at least 1 like and a fading above 0, up to 1, is wanted")
        if self.half_life <= 0 or self.constant < 0:
            raise InputError(f"{self}: a half-life above 0 and no negative constant is wanted")
        if set(self.weights) != set(SOURCES) or min(self.weights.values()) < 0:
            raise InputError(f"weights are {self.weights}; one of at least 0 for each of {SOURCES}")
