"""What a simulated KMRD should look like: the settings, checked at construction."""

from dataclasses import dataclass

from widedeep.errors import InputError

MINUTE = 60
_DAY = 24 * 60 * MINUTE
_MOVIES_AN_EXCEPTION = 4
_MOST_RATINGS = 5_000


@dataclass(frozen=True, slots=True)
class Simulation:
    """Sizes and shape of a simulated data set; the defaults follow KMRD-small.

    Attributes:
        users: Distinct users in rates.csv; each rates at least once.
        movies: Rows of movies.txt; as in KMRD, not every one is rated.
        ratings: Rows of rates.csv.
        seed: Everything random follows from it.
        latent_dimension: Length of the taste vectors of users and movies.
        exceptions: Planted pairs "liked A before, so likes (or dislikes) B".
        exception_effect: What each second planted pair adds to B's logit, the others take from it.
        positive_share: About this part of all ratings is a 10.
        single_share: This part of the users rates exactly once, as far as the totals allow.
        cold_share: About this part of a later month's ratings comes from users first seen in that
            month; first ratings alone can make it more.
        repeat_share: About this part of all rows rates a pair of user and movie again.
        new_movie_share: This part of the movies opens during the span and has no rating before.
        user_spread: Standard deviation of the users' biases, in logits.
        movie_spread: Standard deviation of the movies' biases, in logits.
        taste_spread: Standard deviation of the product of taste vectors, in logits.
        drift: By how much all movies together lose appeal over the whole span, and the standard
            deviation of each movie's own change, in logits.
        growth: The density of new users grows with this power of the time gone by.
        since: Earliest rating, UNIX seconds.
        until: No rating is later, UNIX seconds.

    Raises:
        InputError: A setting is out of range, or the ratings don't fit the users and movies.
    """

    users: int = 52_028
    movies: int = 999
    ratings: int = 140_710
    seed: int = 0
    latent_dimension: int = 8
    exceptions: int = 8
    exception_effect: float = 2.5
    positive_share: float = 0.67
    single_share: float = 0.68
    cold_share: float = 0.56
    repeat_share: float = 0.045
    new_movie_share: float = 0.15
    user_spread: float = 2.2
    movie_spread: float = 1.3
    taste_spread: float = 1.0
    drift: float = 0.6
    growth: float = 0.5
    since: int = 1_069_340_400
    until: int = 1_576_525_860

    def __post_init__(self) -> None:
        """Check every setting; see the class."""
        for name in ("users", "movies", "latent_dimension"):
            self._require(name, 1, None)
        for name in ("seed", "since", "exceptions"):
            self._require(name, 0, None)
        for name in ("user_spread", "movie_spread", "taste_spread", "drift", "growth"):
            self._require(name, 0, 100)
        for name in ("single_share", "cold_share"):
            self._require(name, 0, 1)
        for name in ("repeat_share", "new_movie_share"):
            self._require(name, 0, 0.5)
        self._require("positive_share", 0.01, 0.99)
        self._require("exception_effect", 0, 10)
        self._require("until", self.since + _DAY, 2**32)
        self._require("exceptions", 0, self.movies // _MOVIES_AN_EXCEPTION)
        self._require("ratings", self.users, self.most_ratings)

    @property
    def most_movies(self) -> int:
        """The most ratings one user may give: half of the movies, or 5,000."""
        return max(1, min(_MOST_RATINGS, self.movies // 2))

    @property
    def several(self) -> int:
        """How many users rate more than once."""
        wanted = self.users - round(self.single_share * self.users)
        return max(0, min(wanted, self.ratings - self.users))

    @property
    def most_ratings(self) -> int:
        """The most ratings that the users may give together."""
        several = self.users - round(self.single_share * self.users)
        return self.users + several * (self.most_movies - 1)

    def _require(self, name: str, least: float, most: float | None) -> None:
        value = getattr(self, name)
        may_be_broken = type(self).__annotations__[name] is float
        in_range = least <= value and (most is None or value <= most)
        if in_range and (may_be_broken or isinstance(value, int)):
            return
        kind = "number" if may_be_broken else "whole number"
        wanted = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"simulation: {name} is {value!r}; a {kind} {wanted} is wanted")
