"""Where a pipeline keeps its state: one folder, `mlruns/` by default."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from widedeep.store import ArtifactStore

TRACKING_VARIABLE = "WIDEDEEP_TRACKING_URI"
ARTIFACTS_VARIABLE = "WIDEDEEP_ARTIFACTS_URI"
UI_VARIABLE = "WIDEDEEP_MLFLOW_UI"
"""Names the address of MLflow's UI, where there is one."""


class BusyError(RuntimeError):
    """Another process holds the home; nothing was done."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """An absolute folder; everything a run writes lies below it."""

    root: Path

    @property
    def stages(self) -> ArtifactStore:
        """The artefacts of the stages."""
        return ArtifactStore(self.root / "stages")

    @property
    def data(self) -> Path:
        """Downloaded and simulated rating files."""
        return self.root / "data"

    @property
    def decisions(self) -> Path:
        """Records of decisions, a folder for each model."""
        return self.root / "decisions"

    @property
    def events(self) -> Path:
        """Ratings that servers took, a folder for each model."""
        return self.root / "events"

    @property
    def prefect(self) -> Path:
        """Prefect's home."""
        return self.root / "prefect"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store for runs and models: the one that is configured, else a file in here."""
        return os.environ.get(TRACKING_VARIABLE) or f"sqlite:///{self._database}"

    @property
    def tracked(self) -> bool:
        """Whether there is a store to ask; one that is not a file in here is taken to be there."""
        return TRACKING_VARIABLE in os.environ or self._database.exists()

    @property
    def artifacts_uri(self) -> str | None:
        """Where MLflow keeps files; None leaves that to its server."""
        given = os.environ.get(ARTIFACTS_VARIABLE)
        if given or self.tracking_uri.startswith("http"):
            return given
        return (self.root / "artifacts").as_uri()

    @property
    def logs(self) -> Path:
        """What long-running processes have to say."""
        return self.root / "logs"

    @property
    def registered(self) -> Path:
        """Copies of registered models that MLflow keeps elsewhere."""
        return self.root / "registered"

    @property
    def _database(self) -> Path:
        return self.root / "mlflow.db"

    @contextmanager
    def exclusive(self, patience: float = 0.0) -> Iterator[None]:
        """Hold the home alone; raises BusyError if another process does for `patience` seconds.

        The lock belongs to the operating system, so it is free as soon as its holder is dead.
        Within a process it may be taken again by whoever holds it.
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
