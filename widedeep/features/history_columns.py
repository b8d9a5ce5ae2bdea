"""What a walk through time finds for each query: numbers, and the movies remembered."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.features.coded_bag import CodedBag
from widedeep.features.cores import on_all_cores
from widedeep.features.history_state import JUDGED_COLUMNS, NUMERIC, Sweep, longest_instant, run
from widedeep.features.ragged import Ragged, consecutive

Ints = NDArray[np.int64]

BAGS = ("liked", "disliked")
"""The movies that a user remembers."""

_OBSERVING = 0.45
"""What observing a rating takes of the time of observing it and describing a query (measured)."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be kept, or read, of what a walk finds: numbers and bags, by name.

    Of five million ratings all of it takes three gigabytes.
    """

    numbers: tuple[str, ...] = NUMERIC
    bags: tuple[str, ...] = BAGS


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """`numeric` float32 (n, numbers that were wanted), NaN where missing.

    Bags hold movies, the newest first; of one instant, the highest movie id.
    """

    numeric: NDArray[np.float32]
    liked: CodedBag
    disliked: CodedBag
    names: tuple[str, ...] = NUMERIC

    @classmethod
    def of_walk(
        cls, walkers: Sequence[Sweep], order: Ints, tokens: Ints, wanted: Wanted = EVERYTHING
    ) -> Self:
        """What the queries of a sweep find, in `order` of known_until.

        `tokens` are by movie code. Several `walkers`, copies of the sweep, describe a share of the
        queries each, at the same time, and only observe what the first of these knows. They move
        their states; that of the last is then what the last query knows.
        """
        shares = np.split(order, _borders(len(order), len(walkers)))
        numeric = np.empty((len(order), len(wanted.numbers)), np.float32)
        walk = partial(_walk, numeric=numeric, wanted=wanted)
        found = on_all_cores(walk, walkers, shares)
        bag = partial(_bag, order=order, tokens=tokens)
        liked, disliked = on_all_cores(bag, zip(*found, strict=True))
        return cls(numeric, liked, disliked, wanted.numbers)

    def take(self, rows: Ints) -> "HistoryColumns":
        """The named rows, in that order."""
        liked, disliked = self.liked.take(rows), self.disliked.take(rows)
        numeric = self.numeric[consecutive(rows, len(self.numeric))]
        return HistoryColumns(numeric, liked, disliked, self.names)

    def column(self, name: str) -> NDArray[np.float32]:
        """One numeric feature, shape (n,)."""
        return self.numeric[:, self.names.index(name)]


def _borders(count: int, walkers: int) -> Ints:
    """Where the shares of `count` queries end, so that all walkers are done at the same time."""
    left = (1 - _OBSERVING) ** np.arange(walkers + 1)
    borders: Ints = (count * (1 - left[1:-1]) / (1 - left[-1])).astype(np.int64)
    return borders


def _walk(
    sweep: Sweep, order: Ints, numeric: NDArray[np.float32], wanted: Wanted
) -> tuple[Ragged, Ragged]:
    """Fill the numbers of the queries in `order`; gives the codes they remember, in that order."""
    length = sweep.state.liked.shape[1] if wanted.bags else 0
    room = len(order) * length
    liked, disliked = np.empty(room, np.int32), np.empty(room, np.int32)
    lengths = np.empty(len(order), np.int64), np.empty(len(order), np.int64)
    columns = np.array([NUMERIC.index(name) for name in wanted.numbers], np.int64)
    rated = sweep.events.time
    judged = np.empty((longest_instant(rated, 0, len(rated)), JUDGED_COLUMNS))
    out = np.empty(len(NUMERIC))
    run(sweep, order, columns, numeric, (liked, disliked), lengths, judged, out)
    filled = [codes[: own.sum()] for codes, own in zip((liked, disliked), lengths, strict=True)]
    return Ragged.from_lengths(filled[0], lengths[0]), Ragged.from_lengths(filled[1], lengths[1])


def _bag(parts: Sequence[Ragged], order: Ints, tokens: Ints) -> CodedBag:
    """Rows in the queries' own order, out of rows of codes in `order`."""
    bag = CodedBag(Ragged.concatenate(parts), tokens)
    return bag.take(np.argsort(order)) if (np.diff(order) < 0).any() else bag
