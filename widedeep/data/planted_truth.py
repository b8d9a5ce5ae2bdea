"""The truth behind a simulated folder, drawn again from its settings and held against its files."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.simulated_catalogue import FIRST_MOVIE, draw_catalogue
from widedeep.data.simulated_truth import PlantedException, Truth, draw_truth
from widedeep.data.simulation import Simulation
from widedeep.data.simulator import MARKER, TRUTH
from widedeep.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_TRUTH_COLUMNS = ("user", "movie", "time", "probability")
_SAME = 1e-4
"""Logits agree to this: the truth is float32, and the sum of its terms is large at most 30."""
_SURE = 1e-9
"""A probability nearer than this to 0 or 1 no longer tells its logit."""
_MOST = 0.9


@dataclass(frozen=True, slots=True)
class PlantedTruth:
    """What decides a rating; movie `i` of `truth` has the token `FIRST_MOVIE + i`.

    `intercept` is the part of the logit that all ratings share.
    """

    simulation: Simulation
    truth: Truth
    intercept: float

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Draw the truth of a folder that `simulate` wrote.

        Raises:
            InputError: the folder is not simulated, or was by another version of the simulator.
        """
        for name in (MARKER, TRUTH):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}; a simulated data set is wanted")
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        simulation = Simulation(**marker["simulation"])
        catalogue_rng, truth_rng, *_ = np.random.default_rng(simulation.seed).spawn(4)
        truth = draw_truth(simulation, draw_catalogue(simulation, catalogue_rng), truth_rng)
        drawn = cls(simulation, truth, 0.0)
        intercept = drawn._intercept(pq.read_table(folder / TRUTH))
        if not np.isfinite(intercept):
            raise InputError(
                f"{folder / TRUTH} does not fit the settings in {MARKER}: another version of the "
                "simulator wrote it, so simulate anew"
            )
        return cls(simulation, truth, intercept)

    @property
    def exceptions(self) -> tuple[PlantedException, ...]:
        """The planted pairs, with the tokens of movies."""
        return tuple(
            PlantedException(FIRST_MOVIE + pair.liked, FIRST_MOVIE + pair.candidate, pair.effect)
            for pair in self.truth.exceptions
        )

    def movie_logit(self, movie: Ints, time: Ints) -> Floats:
        """What the movies (tokens) add at UNIX seconds, the intercept included; shape (n,)."""
        first, last = self.simulation.since, self.simulation.until
        moment = (time - (first + last) / 2) / (last - first)
        row = movie - FIRST_MOVIE
        found: Floats = self.truth.movie_bias[row] + self.truth.movie_drift[row] * moment
        return found + self.intercept

    def movie_vectors(self, movie: Ints) -> Floats:
        """What a user's unit Gaussian vector (bias first, then taste) is multiplied with.

        Shape (n, 1 + latent_dimension), in logits: each column is scaled by its prior's spread.
        """
        row, settings = movie - FIRST_MOVIE, self.simulation
        bias = np.full((row.size, 1), settings.user_spread)
        spread = settings.taste_spread / settings.latent_dimension**0.5
        return np.hstack([bias, spread * self.truth.movie_taste[row].astype(np.float64)])

    def taste_logit(self, user: Ints, movie: Ints) -> Floats:
        """What the users' tastes say of the movies, by token; in logits, shape (n,)."""
        taste, row = self.truth.movie_taste, movie - FIRST_MOVIE
        found: Floats = np.einsum("ij,ij->i", self.truth.user_taste[user], taste[row])
        return found.astype(np.float64)

    def without_exceptions(self) -> Self:
        """The same world with nothing planted against taste."""
        return replace(self, truth=replace(self.truth, exceptions=()))

    def _intercept(self, table: pa.Table) -> float:
        """What the stated logits have in common beyond the truth; NaN where they have nothing."""
        user, movie, time, probability = (table[name].to_numpy() for name in _TRUTH_COLUMNS)
        told = np.minimum(probability, 1 - probability) > _SURE
        told &= ~np.isin(movie, [pair.candidate for pair in self.exceptions])
        user, movie, time, probability = user[told], movie[told], time[told], probability[told]
        rest = np.log(probability / (1 - probability)) - self.movie_logit(movie, time)
        rest -= self.truth.user_bias[user] + self.taste_logit(user, movie)
        middle = float(np.median(rest)) if rest.size else np.nan
        # A repeat may state the probability of an earlier moment.
        return middle if np.mean(np.abs(rest - middle) < _SAME) > _MOST else np.nan
