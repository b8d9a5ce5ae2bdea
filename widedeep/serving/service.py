"""The mutable part of a server: which version answers, and the feedback that it has taken.

One rating passes `record` here, `FeedbackLog.append` (durable once its future is done) and
`ServingModel.update` (counts for the next request), in this order.
"""

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from widedeep.data.feedback_log import (
    FeedbackEvent,
    FeedbackLog,
    Flush,
    feedback_events,
    read_feedback,
)
from widedeep.serving.serving_model import ServedVersion, ServingModel, WarmState
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

_LOGGER = logging.getLogger("widedeep.serving")


@dataclass(frozen=True, slots=True)
class ServingState:
    """The model that answers, and since when (ISO-8601, UTC)."""

    model: ServingModel
    since: str


@dataclass(frozen=True, slots=True)
class RefusedVersion:
    """A version that could not be put into service, why, and when (ISO-8601, UTC)."""

    version: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class AcknowledgedFeedback:
    """The feedback acknowledged so far: the first `end` bytes of the feedback log at `path`."""

    path: Path
    end: int


class NoChampionError(RuntimeError):
    """No version is in service yet, so requests cannot be answered."""


class ChampionLoadingError(NoChampionError):
    """The registry has a champion, which is not in service yet: it is checked and loaded."""


class RankingService:
    """Holds a reference to the `ServingModel` that answers; `admit` replaces it.

    Any thread may read `serving`, without a lock. The thread of the feedback log updates the model
    and another thread admits versions; a lock between these two makes sure that each rating reaches
    each version exactly once.
    """

    def __init__(
        self, workspace: Workspace, telemetry: Telemetry, model: str | None = None
    ) -> None:
        """Serve the champion of `model`, or of the only model of the workspace."""
        self._workspace = workspace
        self._model = model
        self._serving: ServingState | None = None
        self._refused: tuple[RefusedVersion, ...] = ()
        self._log: FeedbackLog | None = None
        self._update_lock = Lock()
        self._updated_until = 0
        self.telemetry = telemetry

    @property
    def serving(self) -> ServingState:
        """The model that answers now.

        Raises:
            ChampionLoadingError: None yet, but the champion of the registry is being loaded.
            NoChampionError: No version was admitted yet.
        """
        serving = self._serving  # Read once: the thread of the watcher may replace it at any time.
        if serving is None:
            raise self._no_answer()
        return serving

    def _no_answer(self) -> NoChampionError:
        """Say why no version is in service: none was promoted, it is being loaded, or refused."""
        refused = self._refused
        decisions = self._logged_decisions()
        champion = decisions[-1]["champion_version"] if decisions else None
        if champion is not None and champion not in {entry.version for entry in refused}:
            return ChampionLoadingError(f"version {champion} is being loaded; ask again soon")
        if refused:
            hint = f"version {refused[-1].version} was refused: {refused[-1].reason}"
        elif decisions:
            hint = "no version was promoted: see widedeep status"
        else:
            hint = "begin with: widedeep retrain"
        return NoChampionError(f"no champion yet; {hint}")

    def _logged_decisions(self) -> list[dict[str, Any]]:
        """Read the decisions on the model that is to serve; none if it is not clear which one."""
        models = self._workspace.decided_models() if self._model is None else [self._model]
        return self._workspace.decision_log(models[0]).history() if len(models) == 1 else []

    @property
    def refused(self) -> tuple[RefusedVersion, ...]:
        """Versions refused since the server started, the newest last."""
        return self._refused

    def record(self, event: FeedbackEvent) -> Future[bool]:
        """Take feedback; the future is done once it is on the disk and the model is updated.

        Its result is False if an earlier rating of the pair counts instead.

        Raises:
            NoChampionError: No version was admitted yet.
        """
        if self._log is None or self._serving is None:
            raise NoChampionError("no champion yet, so feedback cannot be recorded")
        return self._log.append(event)

    def acknowledged(self, model: str) -> AcknowledgedFeedback:
        """Return the feedback that a new version of `model` must know at least.

        Raises:
            BusyError: Another server takes feedback for this model.
        """
        log = self._open_log(model)
        return AcknowledgedFeedback(log.path, self._updated_until)

    def admit(
        self, version: ServedVersion, warm_state: WarmState, acknowledged: AcknowledgedFeedback
    ) -> None:
        """Load a version, update it with all feedback acknowledged so far, and let it answer.

        Does nothing if the version serves already: versions never change.

        Args:
            version: The folders of the version.
            warm_state: What was computed for it from its data and the feedback `acknowledged`.
            acknowledged: As the method of that name returned it before.

        Raises:
            InputError, OSError, …: It cannot be loaded; the current one stays in service.
        """
        before = self._serving.model if self._serving else None
        if before is not None and before.version == version:
            return
        model = ServingModel.load(version, warm_state, before)
        with self._update_lock:
            spec = model.metadata.side.spec
            missed = read_feedback(acknowledged.path, spec, acknowledged.end, self._updated_until)
            for event in feedback_events(missed):
                model.update(event)
            self._serving = ServingState(model, _now())
        self.telemetry.count_swap(version.model, version.number)
        _LOGGER.info("%s version %s serves", version.model, version.number)

    def refuse(self, version: str, reason: str) -> None:
        """Note that the version of this number cannot be put into service."""
        self._refused = (*self._refused, RefusedVersion(version, reason, _now()))
        self.telemetry.count_refusal()
        _LOGGER.warning("refused version %s: %s", version, reason)

    def decisions(self) -> list[dict[str, Any]]:
        """Read the decision log of the model that serves, the oldest decision first."""
        return self._workspace.decision_log(self.serving.model.version.model).history()

    def close(self) -> None:
        """Write pending feedback and release the log; no feedback is taken any more."""
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def _open_log(self, model: str) -> FeedbackLog:
        if self._log is None:
            self._log = FeedbackLog(self._workspace.events / model, self._update_model)
            self._updated_until = self._log.path.stat().st_size
            if self._log.torn_bytes:
                _LOGGER.warning("set aside %s bytes of an incomplete line", self._log.torn_bytes)
        return self._log

    def _update_model(self, flush: Flush) -> list[bool]:
        """Count what was flushed before it is acknowledged; runs in the log's thread."""
        with self._update_lock:
            new = [self.serving.model.update(event) for event in flush.events]
            self._updated_until = flush.end
        self.telemetry.count_flush(flush.seconds, sum(new), len(new) - sum(new))
        return new


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
