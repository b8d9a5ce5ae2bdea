"""Where a pipeline keeps its state: one folder, `mlruns/` by default."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from widedeep.artifact_store import ArtifactStore


class BusyError(RuntimeError):
    """Another process holds the home; nothing was done."""


@dataclass(frozen=True, slots=True)
class Home:
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
    def prefect(self) -> Path:
        """Prefect's home."""
        return self.root / "prefect"

    @property
    def tracking_uri(self) -> str:
        """MLflow's store for runs and models."""
        return f"sqlite:///{self.root / 'mlflow.db'}"

    @property
    def artifacts_uri(self) -> str:
        """Where MLflow keeps files."""
        return (self.root / "artifacts").as_uri()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the home alone; raises BusyError at once if another process does.

        The lock belongs to the operating system, so it is free as soon as its holder is dead.
        Within a process it may be taken again by whoever holds it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / "retrain.lock", is_singleton=True, thread_local=False)
        try:
            lock.acquire(blocking=False)
        except Timeout as error:
            message = f"another run is using {self.root}; wait for it or give another --home"
            raise BusyError(message) from error
        try:
            yield
        finally:
            lock.release()
