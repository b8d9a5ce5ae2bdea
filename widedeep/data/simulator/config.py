"""The settings of a simulation, checked at construction."""

from dataclasses import dataclass

from widedeep.inputs import InputError

MINUTE = 60
_DAY = 24 * 60 * MINUTE
_ITEMS_PER_EXCEPTION = 4
_MOST_RATINGS = 5_000


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """Sizes and shape of a simulated data set; the defaults follow KMRD-small.

    Attributes:
        users: Distinct users in rates.csv; each rates at least once.
        items: Rows of movies.txt; as in KMRD, not every one is rated.
        ratings: Rows of rates.csv.
        seed: Determines everything random.
        latent_dimension: Length of the taste vectors of users and items.
        exceptions: Planted pairs "liked A before, so likes (or dislikes) B".
        exception_effect: What every other planted pair adds to B's logit; the rest subtract it.
        positive_share: About this part of all ratings is a 10.
        single_share: This part of the users rates exactly once, as far as the totals allow.
        cold_share: About this part of the ratings of a month in the later half comes from users
            first seen in that month; first ratings alone can make it more.
        repeat_share: About this part of all rows rates a pair of user and item again.
        new_item_share: This part of the items opens during the span and has no rating before.
        user_spread: Standard deviation of the users' biases, in logits.
        item_spread: Standard deviation of the items' biases, in logits.
        taste_spread: Standard deviation of the product of taste vectors, in logits.
        feature_spread: Standard deviation of what the declared features add, in logits; KMRD's
            form has none.
        drift: By how much all items together lose appeal over the whole span, and the standard
            deviation of each item's own change, in logits.
        growth: The density of new users grows with this power of the elapsed time.
        since: Earliest rating, UNIX seconds.
        until: No rating is later, UNIX seconds.

    Raises:
        InputError: A setting is out of range, or the ratings don't fit the users and items.
    """

    users: int = 52_028
    items: int = 999
    ratings: int = 140_710
    seed: int = 0
    latent_dimension: int = 8
    exceptions: int = 8
    exception_effect: float = 2.5
    positive_share: float = 0.67
    single_share: float = 0.68
    cold_share: float = 0.56
    repeat_share: float = 0.045
    new_item_share: float = 0.15
    user_spread: float = 2.2
    item_spread: float = 1.3
    taste_spread: float = 1.0
    feature_spread: float = 1.5
    drift: float = 0.6
    growth: float = 0.5
    since: int = 1_069_340_400
    until: int = 1_576_525_860

    def __post_init__(self) -> None:
        """Check every setting; see the class."""
        for name in ("users", "items", "latent_dimension"):
            self._require(name, 1, None)
        for name in ("seed", "since", "exceptions"):
            self._require(name, 0, None)
        for name in (
            "user_spread",
            "item_spread",
            "taste_spread",
            "feature_spread",
            "drift",
            "growth",
        ):
            self._require(name, 0, 100)
        for name in ("single_share", "cold_share"):
            self._require(name, 0, 1)
        for name in ("repeat_share", "new_item_share"):
            self._require(name, 0, 0.5)
        self._require("positive_share", 0.01, 0.99)
        self._require("exception_effect", 0, 10)
        self._require("until", self.since + _DAY, 2**32)
        self._require("exceptions", 0, self.items // _ITEMS_PER_EXCEPTION)
        self._require("ratings", self.users, self.most_ratings)

    @property
    def most_items(self) -> int:
        """The most ratings that one user may give: half of the items, at most 5,000."""
        return max(1, min(_MOST_RATINGS, self.items // 2))

    @property
    def active_users(self) -> int:
        """The number of users who rate more than once."""
        intended = self.users - round(self.single_share * self.users)
        return max(0, min(intended, self.ratings - self.users))

    @property
    def most_ratings(self) -> int:
        """The most ratings that the users may give together."""
        active_users = self.users - round(self.single_share * self.users)
        return self.users + active_users * (self.most_items - 1)

    def _require(self, name: str, least: float, most: float | None) -> None:
        """Check that a setting is between `least` and `most`, and whole unless it is a float."""
        value = getattr(self, name)
        is_float = type(self).__annotations__[name] is float
        in_range = least <= value and (most is None or value <= most)
        if in_range and (is_float or isinstance(value, int)):
            return
        kind = "number" if is_float else "whole number"
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"simulation: {name} is {value!r}; expected a {kind} {bounds}")
