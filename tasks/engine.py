"""Where the heavy parts of a run are computed: in this process, or on a Ray cluster.

Both engines run the same functions of the library. What they make of ratings and features is the
same, row for row; trained weights agree up to the order in which floats are added.

Seconds after which a task is taken to hang, and ended as failed.

Far above what five million ratings need; nothing is meant to come near them.
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

from widedeep.inputs import InputError

# A run form needs the settings alone: what computes is loaded when it is asked for.
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from widedeep.data.ingest import Judge
    from widedeep.data.tables import Interactions
    from widedeep.evaluation.scoring import Scorer
    from widedeep.features.engine import FeatureEngines
    from widedeep.features.items import ItemTable
    from widedeep.model.fitting import TrainingJob, TrainingProcess
    from widedeep.model.trained_model import TrainedModel
    from widedeep.serving.batch_ranking import ListMaker, ListsRequest, RankedLists
    from widedeep.workspace import Workspace

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
    def running(self, workspace: Workspace) -> Iterator[None]:
        """Connect to the cluster that RAY_ADDRESS names, or start a local one, for a while.

        Raises:
            InputError: Ray is not installed, or the cluster cannot be reached or used.
        """
        if not self.on_ray:
            yield
            return
        self.require()
        from tasks.on_ray.cluster import connected

        with connected(self.workers, workspace):
            yield

    def judge(self) -> Judge:
        """Where rows of ratings are checked."""
        if not self.on_ray:
            from widedeep.data.ingest import check_locally

            return check_locally
        from tasks.on_ray.scoring import check_on_ray

        return check_on_ray

    def features(self, folder: Path) -> FeatureEngines:
        """Where features are described, fitted and encoded; files for a while are in `folder`."""
        if not self.on_ray:
            from widedeep.out_of_core.on_disk import engine_by_size

            return partial(engine_by_size, folder=folder)
        from tasks.on_ray.features import RayEngine

        return partial(RayEngine, pieces=PIECES_A_WORKER * self.workers)

    @contextmanager
    def fitting(self, training: TrainingJob, folder: Path) -> Iterator[TrainingProcess]:
        """A training; what it writes meanwhile lies beside the `folder` that its owner fills."""
        if not self.on_ray:
            yield training.fitting()
            return
        from tasks.on_ray.training import RayTraining

        scratch = folder.with_name(f"{folder.name}-ray")
        try:
            yield RayTraining(training, self.workers, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def lists(
        self, order: ListsRequest, lister: ListMaker, users: NDArray[np.int64]
    ) -> Iterator[RankedLists]:
        """The lists of `users`, in their order; `lister` is the order's, in this process."""
        if not self.on_ray:
            return lister.batch.lists(users, os.cpu_count() or 1)
        from tasks.on_ray.scoring import ray_lists

        return ray_lists(order, users, self.workers)

    def scorer(
        self, model: TrainedModel, interactions: Interactions, item_table: ItemTable
    ) -> Scorer:
        """See `model_scorer`."""
        if not self.on_ray:
            from widedeep.evaluation.scoring import model_scorer

            return model_scorer(model, interactions, item_table)
        from tasks.on_ray.scoring import ray_scorer

        return ray_scorer(model, interactions, item_table, PIECES_A_WORKER * self.workers)


LOCAL = Engine()
"""What needs nothing but this process."""


STAGE_SECONDS = 2 * 3600.0
TRAINING_SECONDS = 24 * 3600.0
