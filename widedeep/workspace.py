"""The workspace: the one folder in which a pipeline keeps its state, `mlruns/` by default.

`Workspace` knows where everything in it lies, and locks it for one run at a time.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from widedeep.decision_log import DecisionLog
from widedeep.store import ArtifactStore

TRACKING_VARIABLE = "WIDEDEEP_TRACKING_URI"
"""Environment variable: the address of an MLflow tracking server or store outside the workspace."""
ARTIFACTS_VARIABLE = "WIDEDEEP_ARTIFACTS_URI"
"""Environment variable: where MLflow keeps files, if not in the workspace."""
UI_VARIABLE = "WIDEDEEP_MLFLOW_UI"
"""Environment variable: the address of MLflow's UI, if there is one."""


class BusyError(RuntimeError):
    """Another process holds the lock of the workspace or of a file in it; nothing was done."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The folder `root` (absolute); everything that a run writes lies below it."""

    root: Path

    @property
    def stages(self) -> ArtifactStore:
        """The store of the artefacts that the stages make."""
        return ArtifactStore(self.root / "stages")

    @property
    def data(self) -> Path:
        """The folder of downloaded and simulated rating files."""
        return self.root / "data"

    def decision_log(self, model: str) -> DecisionLog:
        """Return the log of the decisions on a model."""
        return DecisionLog(self.root / "decisions" / model)

    def decided_models(self) -> list[str]:
        """Return the names of the models with at least one finished decision."""
        return sorted({file.parent.name for file in self.root.glob("decisions/*/*.json")})

    @property
    def events(self) -> Path:
        """The folder of the feedback logs, with a folder for each model."""
        return self.root / "events"

    @property
    def logs(self) -> Path:
        """The folder of the log files of long-running processes."""
        return self.root / "logs"

    @property
    def prefect(self) -> Path:
        """The folder that is Prefect's home (PREFECT_HOME)."""
        return self.root / "prefect"

    @property
    def registered_models(self) -> Path:
        """The folder of local copies of registered models that MLflow keeps elsewhere."""
        return self.root / "registered"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store of runs and models: TRACKING_VARIABLE if set, else a file in here."""
        return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{self._database}"

    @property
    def has_tracking_store(self) -> bool:
        """Whether MLflow's store exists; a store outside the workspace is assumed to exist."""
        return TRACKING_VARIABLE in os.environ or self._database.exists()

    @property
    def artifacts_uri(self) -> str | None:
        """Where MLflow keeps files; None leaves the choice to MLflow's server."""
        configured = os.environ.get(ARTIFACTS_VARIABLE)
        if configured or self.tracking_uri.startswith("http"):
            return configured
        return (self.root / "artifacts").as_uri()

    @property
    def _database(self) -> Path:
        return self.root / "mlflow.db"

    @contextmanager
    def exclusive(self, patience: float = 0.0) -> Iterator[None]:
        """Hold the workspace's lock within the block.

        The lock belongs to the operating system, so it is released as soon as the process that
        holds it is dead. The holding process may take it again.

        Raises:
            BusyError: Another process still held the lock after `patience` seconds.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "retrain.lock", is_singleton=True, thread_local=False)
        try:
            lock.acquire(timeout=patience)
        except Timeout as error:
            message = f"another run is using {self.root}; wait for it or give another --home"
            raise BusyError(message) from error
        try:
            yield
        finally:
            lock.release()
