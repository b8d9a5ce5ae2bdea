"""What has to be worked out before a version can serve.

It takes most of the time of loading a version, so another process may do it than the one that
serves (`save`, `load`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pyarrow as pa

from widedeep.evaluation.wide_part import WidePart
from widedeep.features.companion import Companion
from widedeep.model.precision import Precision
from widedeep.model.products import dtype_of
from widedeep.model.trained_model import TrainedModel
from widedeep.record_file import load_record, save_record
from widedeep.serving.known_ratings import with_events
from widedeep.serving.prepared_model import PreparedModel, known_tokens
from widedeep.serving.ratings_by_user import RatingsByUser
from widedeep.serving.retrieval_config import RetrievalConfig
from widedeep.serving.served_version import ServedVersion
from widedeep.serving.snapshot import Snapshot
from widedeep.serving.sources import Sources


@dataclass(frozen=True, slots=True)
class Groundwork:
    """The model made ready, and all that follows from the ratings; serving changes that."""

    model: PreparedModel
    wide: WidePart
    ratings: RatingsByUser
    snapshot: Snapshot
    sources: Sources

    @classmethod
    def of(
        cls, version: ServedVersion, events: pa.Table, precision: Precision = Precision.AUTO
    ) -> Self:
        """For what a version came with, and the `events` since, as an event log has them."""
        model, companion = TrainedModel.load(version.served), Companion.load(version.history)
        history, prior = model.transform.spec.history, model.transform.prior
        log, catalogue = with_events(companion, events), companion.catalogue
        snapshot = Snapshot.of(log, catalogue, history, prior, known_tokens(model))
        tokens = snapshot.users, snapshot.movies
        return cls(
            PreparedModel.of(model, tokens, catalogue, dtype_of(precision)),
            WidePart.of(model),
            RatingsByUser.of(log),
            snapshot,
            Sources.of(model, log, catalogue, companion.movies, RetrievalConfig()),
        )

    def save(self, path: Path) -> None:
        """Write one file."""
        save_record(self, path)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote, hardly copying it: the file may lose its name, not change."""
        return load_record(cls, path)
