"""Why a film stands in a user's list: the model's own sum for the pair, as it is scored now."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from widedeep.evaluation.explanation import Explanation
from widedeep.evaluation.names import Names
from widedeep.evaluation.wide_part import WidePart
from widedeep.features.catalogue import Catalogue
from widedeep.features.coded_bag import CodedBag
from widedeep.features.history import Queries
from widedeep.features.history_columns import HistoryColumns
from widedeep.features.history_state import NUMERIC
from widedeep.features.ragged import Ragged
from widedeep.features.raw_columns import RawColumns
from widedeep.serving.live_state import LiveState, Reading
from widedeep.serving.nearest import Nearest
from widedeep.serving.prepared_model import PreparedModel

Ints = NDArray[np.int64]

_SIMILAR = 3


@dataclass(frozen=True, slots=True)
class Similar:
    """A film that the user liked, and the cosine of both films' embeddings, -1 to 1."""

    movie: int
    similarity: float


@dataclass(frozen=True, slots=True)
class Reason:
    """The logit taken apart, and what the user liked that the deep part finds alike."""

    explanation: Explanation
    similar: tuple[Similar, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """A model, the part of it that can be told, and the state of its users.

    `nearest` is by row of the catalogue.
    """

    model: PreparedModel
    wide: WidePart
    nearest: Nearest
    state: LiveState
    catalogue: Catalogue
    names: Names

    def reasons(self, user: int, movies: Sequence[int], at: int) -> tuple[Reason, ...]:
        """One for each movie, as the model scores it for a user at UNIX seconds `at`."""
        asked = np.array(movies, np.int64)
        reading = self.state.read(user, asked, at)
        rows = self._rows(user, asked, reading)
        explained = self.wide.explain(rows, self.model.logits(reading), self.names)
        similar = self._similar(asked, self.state.movies.token(reading.liked))
        return tuple(Reason(*pair) for pair in zip(explained, similar, strict=True))

    def _rows(self, user: int, movies: Ints, reading: Reading) -> RawColumns:
        """What was read, in the form in which a model's transform takes it."""
        moment = np.full(len(movies), reading.time)
        queries = Queries(np.full(len(movies), user), movies, moment, moment)
        liked, disliked = (
            _repeated(self.state.movies.token(codes), len(movies))
            for codes in (reading.liked, reading.disliked)
        )
        numeric = reading.values[:, : len(NUMERIC)].astype(np.float32)
        history = HistoryColumns(numeric, CodedBag.of(liked), CodedBag.of(disliked))
        return RawColumns.of(queries, history, self.catalogue)

    def _similar(self, movies: Ints, liked: Ints) -> list[tuple[Similar, ...]]:
        """For each movie, the liked ones nearest in the deep embedding."""
        if not len(liked):
            return [()] * len(movies)
        ours, theirs = (self._directions(tokens) for tokens in (movies, liked))
        cosines = ours @ theirs.T
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :_SIMILAR]
        return [
            tuple(Similar(int(liked[i]), float(row[i])) for i in best if row[i] > 0)
            for row, best in zip(cosines, order, strict=True)
        ]

    def _directions(self, movies: Ints) -> NDArray[np.float32]:
        """Embeddings of length 1, (n, width); of length 0 for a movie that is not known."""
        rows = self.catalogue.rows(movies)
        held = np.minimum(rows, len(self.nearest.known) - 1)
        known = self.nearest.known[held] & (held == rows)
        return np.where(known[:, None], self.nearest.embeddings[held], np.float32(0))


def _repeated(tokens: Ints, times: int) -> Ragged:
    return Ragged.from_lengths(np.tile(tokens, times), np.full(times, len(tokens)))
