"""Where the heavy parts of a run are computed: in this process, or on a Ray cluster.

Both engines run the same functions of the library. Ratings and features come out the same, row for
row; trained weights agree up to the order in which floats are added.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import ConfigDict, Field

from tasks.form import Form
from tasks.run_form import AtLeastOne
from widedeep import InputError
from widedeep.inputs import EngineName

# The command line and the run form need the settings alone; what computes is loaded when used.
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from widedeep import FeatureTables, Interactions, TrainedModel, Workspace
    from widedeep.data.ingest import RowChecker
    from widedeep.evaluation.scoring import Scorer
    from widedeep.features.engine import EngineFactory
    from widedeep.model.fitting import TrainingHandle, TrainingJob
    from widedeep.serving.batch_ranking import ListMaker, ListsRequest, RankedLists

STAGE_SECONDS = 2 * 3600.0
TRAINING_SECONDS = 24 * 3600.0
"""Seconds after which a task counts as hanging and fails; far above what 5 million ratings take."""

PIECES_A_WORKER = 2
"""Pieces of work for each Ray worker: with more than one, a slow worker delays the others less."""


class Engine(Form):
    """Where the work of the run is done."""

    model_config = ConfigDict(title="Computing")

    engine: EngineName = Field(
        EngineName.LOCAL,
        title="Engine",
        description="local: this process; ray: the Ray cluster at RAY_ADDRESS, else one that is "
        "started on this machine (needs the extra [ray]).",
    )
    workers: AtLeastOne = Field(
        2, title="Workers", description="Processes on Ray that share the work."
    )

    @property
    def on_ray(self) -> bool:
        """Whether the work is done on a Ray cluster."""
        return self.engine is EngineName.RAY

    @property
    def replicas(self) -> int:
        """Number of processes that train one model together."""
        return self.workers if self.on_ray else 1

    def as_key(self) -> dict[str, int]:
        """Return what of the engine changes a trained model: in which order floats are added."""
        return {"replicas": self.replicas} if self.replicas > 1 else {}

    def require(self) -> None:
        """Raise InputError if the engine needs a package that is not installed; load nothing."""
        if self.on_ray and find_spec("ray") is None:
            raise InputError(
                "engine ray: Ray is not installed; install the extra, as in "
                "pip install -c constraints.txt -e '.[ray]', or use engine local"
            )

    @contextmanager
    def running(self, workspace: Workspace) -> Iterator[None]:
        """Connect to the cluster at RAY_ADDRESS, or start a local one, while the block runs.

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

    def row_checker(self) -> RowChecker:
        """Return the function that checks rows of interactions."""
        if not self.on_ray:
            from widedeep.data.ingest import check_locally

            return check_locally
        from tasks.on_ray.data import check_on_ray

        return check_on_ray

    def feature_engines(self, folder: Path) -> EngineFactory:
        """Return what computes, fits and encodes features; temporary files lie in `folder`."""
        if not self.on_ray:
            from widedeep.out_of_core.on_disk import engine_by_size

            return partial(engine_by_size, folder=folder)
        from tasks.on_ray.data import RayEngine

        return partial(RayEngine, pieces=PIECES_A_WORKER * self.workers)

    @contextmanager
    def training(self, training: TrainingJob, folder: Path) -> Iterator[TrainingHandle]:
        """Yield a run of `training`; Ray's temporary files lie beside `folder`, the model's."""
        if not self.on_ray:
            yield training.create_run()
            return
        from tasks.on_ray.training import RayTraining

        scratch = folder.with_name(f"{folder.name}-ray")
        try:
            yield RayTraining(training, self.workers, scratch)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def lists(
        self, request: ListsRequest, list_maker: ListMaker, users: NDArray[np.int64]
    ) -> Iterator[RankedLists]:
        """Yield the lists of `users`, (n,) int64, in their order.

        `list_maker` is the one loaded for `request`; it makes the lists in this process.
        """
        if not self.on_ray:
            return list_maker.batch.lists(users, os.cpu_count() or 1)
        from tasks.on_ray.data import ray_lists

        return ray_lists(request, users, self.workers)

    def scorer(
        self, model: TrainedModel, interactions: Interactions, tables: FeatureTables
    ) -> Scorer:
        """Return a function that scores queries with `model`, see `model_scorer`."""
        if not self.on_ray:
            from widedeep import model_scorer

            return model_scorer(model, interactions, tables)
        from tasks.on_ray.data import ray_scorer

        return ray_scorer(model, interactions, tables, PIECES_A_WORKER * self.workers)


LOCAL = Engine()
"""Computes everything in this process."""
