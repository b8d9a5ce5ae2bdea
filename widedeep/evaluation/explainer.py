"""Explanations of a registered model's scores."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

from widedeep.data.ratings import RatingLog
from widedeep.evaluation.explanation import Explanation
from widedeep.evaluation.names import Names
from widedeep.evaluation.wide_part import WidePart
from widedeep.features.catalogue import Catalogue
from widedeep.features.companion import Companion
from widedeep.features.history import Queries
from widedeep.model.trained_model import TrainedModel
from widedeep.model.training import logits


@dataclass(frozen=True, slots=True)
class Explainer:
    """A model with the ratings and films it may know of; `names` are for its words."""

    model: TrainedModel
    log: RatingLog
    catalogue: Catalogue
    names: Names

    @classmethod
    def load(cls, model: Path, history: Path) -> Self:
        """Read a registered model's folders."""
        known = Companion.load(history)
        names = Names.of(known.movies, known.people)
        return cls(TrainedModel.load(model), known.log, known.catalogue, names)

    @property
    def known_until(self) -> int:
        """UNIX seconds: every rating of the log is older."""
        return int(self.log.time[-1]) + 1

    def explain(self, asked: Queries) -> list[Explanation]:
        """One explanation a query; an unknown user or movie is a cold one."""
        transform, network = self.model.transform, self.model.network
        rows = transform.describe(self.log, asked, self.catalogue)
        given = logits(network, transform.encode(rows))
        return WidePart.of(self.model).explain(rows, given, self.names)
