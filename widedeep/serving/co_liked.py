"""Co-liked: films that those liked who liked what the user liked."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numba import njit
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.features.ragged import Ragged
from widedeep.serving.weighted_lists import Ints, Scores, WeightedLists

NAME = "co-liked"


@dataclass(frozen=True, slots=True)
class CoLikedConfig:
    """How films that the same users liked become neighbours.

    A neighbour liked by c users together with a film weighs c / (c + `shrinkage`) * c /
    (n * m) ** `power`, n and m being the users who liked each: a power of .5 is the cosine, 0 the
    count. Each film keeps its `neighbours` best; of a user the newest `likes` count. Tried values
    are with `RetrievalConfig`.
    """

    neighbours: int = 200
    likes: int = 200
    power: float = 0.35
    shrinkage: float = 5.0

    def __post_init__(self) -> None:
        if min(self.neighbours, self.likes) < 1 or min(self.power, self.shrinkage) < 0:
            raise InputError(
                f"{self}: neighbours and likes from 1, and no negative value is wanted"
            )


@dataclass(frozen=True, slots=True)
class CoLiked:
    """The neighbours of each movie, as of the moment at which they were counted."""

    neighbours: WeightedLists
    movies: int

    @classmethod
    def of(cls, users: Ints, rows: Ints, movies: int, config: CoLikedConfig) -> Self:
        """Count who liked which row of the catalogue, (n,) each, in order of time."""
        by_user = _newest_likes(users, rows, config.likes)
        owners = by_user.row_numbers()
        order = np.argsort(by_user.values, kind="stable")
        liked = np.bincount(by_user.values, minlength=movies)
        by_movie = Ragged.from_lengths(owners[order], liked)
        shape = (movies, min(config.neighbours, max(movies, 1)))
        columns, weights = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
        lists = (by_movie.offsets, by_movie.values, by_user.offsets, by_user.values)
        _count(lists, liked.astype(np.float64), (config.power, config.shrinkage), columns, weights)
        held = columns >= 0
        offsets = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
        return cls(WeightedLists(offsets, columns[held], weights[held]), movies)

    def scores(self, liked: Ints, factors: Scores) -> Scores:
        """How much each movie belongs to the liked rows, each with a factor; 0: not at all."""
        return self.neighbours.added(liked, factors, self.movies)


def _newest_likes(users: Ints, rows: Ints, likes: int) -> Ragged:
    """The newest `likes` rows of each user."""
    order = np.argsort(users, kind="stable")
    _, counts = np.unique(users, return_counts=True)
    from_end = np.repeat(np.cumsum(counts), counts) - np.arange(len(users))
    return Ragged.from_lengths(rows[order][from_end <= likes], np.minimum(counts, likes))


@njit(cache=True, nogil=True)
def _count(
    lists: tuple[Ints, Ints, Ints, Ints],
    liked: Scores,
    settings: tuple[float, float],
    columns: NDArray[np.int32],
    weights: NDArray[np.float32],
) -> None:
    """Fill in the best neighbours of each movie, the best first."""
    movie_offsets, users, user_offsets, movies = lists
    power, shrinkage = settings
    together = np.zeros(len(liked), np.int64)
    for movie in range(len(liked)):
        touched = []
        for i in range(movie_offsets[movie], movie_offsets[movie + 1]):
            for j in range(user_offsets[users[i]], user_offsets[users[i] + 1]):
                if together[movies[j]] == 0:
                    touched.append(movies[j])
                together[movies[j]] += 1
        others = np.sort(np.array([other for other in touched if other != movie], dtype=np.int64))
        counts = together[others].astype(np.float64)
        value = counts / (counts + shrinkage) * counts / (liked[movie] * liked[others]) ** power
        best = np.argsort(-value, kind="mergesort")[: columns.shape[1]]
        columns[movie, : len(best)] = others[best]
        weights[movie, : len(best)] = value[best]
        for other in touched:
            together[other] = 0
