"""The one place that changes while users are served: which version answers, and what they rated."""

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from widedeep import decision_log
from widedeep.data.feedback_log import FeedbackEvent, FeedbackLog, Flush, read_feedback
from widedeep.serving.serving_model import ServedVersion, ServingModel, WarmState
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

_LOGGER = logging.getLogger("widedeep.serving")


@dataclass(frozen=True, slots=True)
class RefusedVersion:
    """A version that did not get to serve."""

    number: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The ratings acknowledged so far: the first `end` bytes of the event log at `path`."""

    path: Path
    end: int


@dataclass(frozen=True, slots=True)
class ServingState:
    """What answers now, and since when (ISO-8601, UTC)."""

    bundle: ServingModel
    since: str


class NoChampionError(RuntimeError):
    """There is no version to answer by yet."""


class RankingService:
    """Answers by an immutable reference to a bundle, which `admit` puts in place of the last one.

    Any thread may ask. Ratings are applied by the log's thread, a new version comes in by another;
    the lock between these two makes each rating reach every version exactly once. Who asks takes no
    lock of it.
    """

    def __init__(self, workspace: Workspace, telemetry: Telemetry) -> None:
        self._home = workspace
        self._serving: ServingState | None = None
        self._refused: tuple[RefusedVersion, ...] = ()
        self._log: FeedbackLog | None = None
        self._moving = Lock()
        self._applied_until = 0
        self.telemetry = telemetry

    @property
    def serving(self) -> ServingState:
        """What answers now; raises NoChampionError."""
        found, refused = self._serving, self._refused
        if found is None:
            why = "begin with: widedeep retrain"
            if refused:
                why = f"version {refused[-1].number} was refused: {refused[-1].reason}"
            raise NoChampionError(f"no champion yet; {why}")
        return found

    @property
    def refused(self) -> tuple[RefusedVersion, ...]:
        """Versions that did not get to serve since the server began, the newest last."""
        return self._refused

    def acknowledged(self, model: str) -> Acknowledged:
        """The ratings that a version of the model must know when it comes; more may follow.

        Raises:
            BusyError: Another server takes ratings for this model.
        """
        log = self._open(model)
        return Acknowledged(log.path, self._applied_until)

    def admit(self, version: ServedVersion, groundwork: WarmState, told: Acknowledged) -> None:
        """Load a version, tell it every rating acknowledged so far, and let it answer.

        One that answers already goes on: a version never changes.

        Args:
            version: Where it is.
            groundwork: Done for it, with the ratings that it was `told`.
            told: These, as `acknowledged` gave them before.

        Raises:
            InputError, OSError, …: It cannot be loaded; the old one goes on.
        """
        before = self._serving.bundle if self._serving else None
        if before is not None and before.version == version:
            return
        bundle = ServingModel.load(version, groundwork, before)
        with self._moving:
            missed = read_feedback(told.path, told.end, self._applied_until)
            for row in missed.to_pylist():
                bundle.observe(FeedbackEvent(**row))
            self._serving = ServingState(bundle, _now())
        self.telemetry.swapped(version.model, version.number)
        _LOGGER.info("%s version %s serves", version.model, version.number)

    def refuse(self, number: str, reason: str) -> None:
        """Note that a version does not get to serve."""
        self._refused = (*self._refused, RefusedVersion(number, reason, _now()))
        self.telemetry.refused()
        _LOGGER.warning("refused version %s: %s", number, reason)

    def record(self, event: FeedbackEvent) -> Future[bool]:
        """Take a rating; the future is done once it is on the disk and counts.

        It gives False for a repeat of a pair. Raises NoChampionError.
        """
        if self._log is None or self._serving is None:
            raise NoChampionError("no champion yet, so there is nobody to take ratings for")
        return self._log.append(event)

    def decisions(self) -> list[dict[str, Any]]:
        """Every decision on the model, the oldest first."""
        return decision_log.history(self._home.decisions / self.serving.bundle.version.model)

    def close(self) -> None:
        """Write what waits, and give the log free; no rating is taken any more."""
        log, self._log = self._log, None
        if log is not None:
            log.close()

    def _open(self, model: str) -> FeedbackLog:
        if self._log is None:
            self._log = FeedbackLog(self._home.events / model, self._apply)
            self._applied_until = self._log.path.stat().st_size
            if self._log.torn:
                _LOGGER.warning("set aside %s bytes that were cut off", self._log.torn)
        return self._log

    def _apply(self, flush: Flush) -> list[bool]:
        """In the log's thread: what was flushed counts before it is acknowledged."""
        with self._moving:
            news = [self.serving.bundle.observe(event) for event in flush.events]
            self._applied_until = flush.end
        self.telemetry.flushed(flush.seconds, sum(news), len(news) - sum(news))
        return news


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
