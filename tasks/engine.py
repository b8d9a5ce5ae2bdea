"""Where the heavy parts of a run are computed: in this process, or on a Ray cluster.

Both engines run the same functions of the library. What they make of ratings and features is the
same, row for row; trained weights agree up to the order in which floats are added.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from widedeep.errors import InputError

# A run form needs the settings alone: what computes is loaded when it is asked for.
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from tasks.trained import Training
    from widedeep.data.ingest import Judge
    from widedeep.data.ratings import RatingLog
    from widedeep.evaluation.scoring import Scorer
    from widedeep.features.catalogue import Catalogue
    from widedeep.features.feature_engine import FeatureEngines
    from widedeep.home import Home
    from widedeep.model.fitting import Fit
    from widedeep.model.trained_model import TrainedModel
    from widedeep.serving.batch_ranking import Lists
    from widedeep.serving.lists_order import Lister, ListsOrder

PIECES_A_WORKER = 2
"""So that one that is slow is not waited for by all others."""


class EngineName(StrEnum):
    """The values are what users write."""

    LOCAL = "local"
    RAY = "ray"


@dataclass(frozen=True, slots=True)
class Engine:
    """What a user asked for; `workers` count on Ray only."""

    name: EngineName = EngineName.LOCAL
    workers: int = 2

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise InputError(f"workers is {self.workers}; at least 1 is wanted")

    @property
    def replicas(self) -> int:
        """Processes that train one model together."""
        return self.workers if self.on_ray else 1

    @property
    def on_ray(self) -> bool:
        """Whether there is a cluster."""
        return self.name is EngineName.RAY

    def as_key(self) -> dict[str, int]:
        """What of it makes another model: as floats do not add up in any order alike."""
        return {"replicas": self.replicas} if self.replicas > 1 else {}

    def require(self) -> None:
        """Raise InputError if it needs what is not installed; at once, nothing is loaded."""
        if self.on_ray and find_spec("ray") is None:
            raise InputError(
                "engine ray: Ray is not installed; install the extra, as in "
                "pip install -c constraints.txt -e '.[ray]', or use engine local"
            )

    @contextmanager
    def running(self, home: Home) -> Iterator[None]:
        """Connect to the cluster that RAY_ADDRESS names, or start a local one, for a while.

        Raises:
            InputError: Ray is not installed, or the cluster cannot be reached or used.
        """
        if not self.on_ray:
            yield
            return
        self.require()
        from tasks.on_ray.cluster import connected

        with connected(self.workers, home):
            yield

    def judge(self) -> Judge:
        """Where rows of ratings are checked."""
        if not self.on_ray:
            from widedeep.data.ingest import judge_here

            return judge_here
        from tasks.on_ray.ingest import judge_on_ray

        return judge_on_ray

    def features(self, folder: Path) -> FeatureEngines:
        """Where features are described, fitted and encoded; files for a while are in `folder`."""
        if not self.on_ray:
            from widedeep.features.on_disk import by_size

            return partial(by_size, folder=folder)
        from tasks.on_ray.features import OnRay

        return partial(OnRay, pieces=PIECES_A_WORKER * self.workers)

    @contextmanager
    def fitting(self, training: Training, folder: Path) -> Iterator[Fit]:
        """A training; what it writes meanwhile lies beside the `folder` that its owner fills."""
        if not self.on_ray:
            yield training.fitting()
            return
        from tasks.on_ray.training import RayFitting

        scratch = folder.with_name(f"{folder.name}-ray")
        try:
            yield RayFitting(training, self.workers, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def lists(self, order: ListsOrder, lister: Lister, users: NDArray[np.int64]) -> Iterator[Lists]:
        """The lists of `users`, in their order; `lister` is the order's, in this process."""
        if not self.on_ray:
            return lister.batch.lists(users, os.cpu_count() or 1)
        from tasks.on_ray.ranking import ray_lists

        return ray_lists(order, users, self.workers)

    def scorer(self, model: TrainedModel, log: RatingLog, catalogue: Catalogue) -> Scorer:
        """See `model_scorer`."""
        if not self.on_ray:
            from widedeep.evaluation.scoring import model_scorer

            return model_scorer(model, log, catalogue)
        from tasks.on_ray.scoring import ray_scorer

        return ray_scorer(model, log, catalogue, PIECES_A_WORKER * self.workers)


LOCAL = Engine()
"""What needs nothing but this process."""
