"""Which lists are asked for of a registered model, and all that gives them, in any process."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

from widedeep.data.ratings import RatingLog
from widedeep.errors import InputError
from widedeep.features.companion import Companion
from widedeep.model.precision import Precision
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.batch_ranking import BatchRanking, Shortlist
from widedeep.serving.ranker import Ranker
from widedeep.serving.retrieval import Retrieval
from widedeep.when import iso


@dataclass(frozen=True, slots=True)
class ListsOrder:
    """Lists of `k` films by the model in `folder`.

    Attributes:
        folder: Of the model; the folder `history` beside it has what was known, see `Companion`.
        k: Films a user.
        candidates: How many of the films are ranked for each user; None for all of them.
        at: UNIX seconds, ratings strictly before it are known; None for after the last.
        precision: Of the scores.
    """

    folder: Path
    k: int
    candidates: int | None
    at: int | None
    precision: Precision


@dataclass(frozen=True, slots=True)
class Lister:
    """What gives the lists, and what it knows: ratings, films, and the moment `at`."""

    batch: BatchRanking
    log: RatingLog
    known: Companion
    at: int

    @classmethod
    def of(cls, order: ListsOrder) -> Self:
        """Load the model and get it ready.

        Raises:
            InputError: Nothing was rated before the moment.
        """
        model = TrainedModel.load(order.folder)
        known = Companion.load(order.folder.with_name("history"))
        log, catalogue = _until(known.log, order.at), known.catalogue
        torch.set_num_threads(1)  # a thread ranks for one user, so that all cores have work
        ranker = Ranker.of(model, log, catalogue, order.precision)
        at = ranker.known_until if order.at is None else order.at
        shortlist = None
        if order.candidates is not None:
            retrieval = Retrieval.of(model, log, catalogue, known.movies)
            shortlist = Shortlist(retrieval, retrieval.ruled(at), order.candidates)
        batch = BatchRanking.of(ranker, catalogue.movies, at, order.k, shortlist)
        return cls(batch, log, known, at)


def _until(log: RatingLog, at: int | None) -> RatingLog:
    if at is not None:
        log = log.take(slice(int(np.searchsorted(log.time, at))))
    if not len(log):
        raise InputError(f"--at is {iso(at or 0)}, and no rating is older; a later one is wanted")
    return log
