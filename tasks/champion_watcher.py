"""Bring each new champion from the registry into a running server.

`ChampionWatcher` runs in the server: a thread that starts `champion_watcher_worker.py` in a process
of its own, receives the versions that it has checked, and admits them to the service or refuses
them. It restarts the process when it ends. Messages are lines of JSON:

| from the worker | meaning |
|---|---|
| `{"checking": number}` | a version is being checked; it is to blame if the process ends |
| `{"needs_feedback": model}` | answered by `{"path", "end"}` of the log, or `{"error"}` |
| `{"error": text}` | the registry cannot be read |
| a `CandidateVersion` | the result of the check |
"""

import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from widedeep import InputError, Workspace
from widedeep.inputs import Precision
from widedeep.serving.service import AcknowledgedFeedback, RankingService
from widedeep.serving.serving_model import ServedVersion, WarmState
from widedeep.workspace import BusyError

POLL_SECONDS = 0.5
"""Time between two looks at the registry."""

LOADING_NICENESS, CHECKING_NICENESS = 10, 19
"""Niceness of the thread that loads the next version, and of the process that checks it, once a
version is in service."""

_RESTART_SECONDS = 5.0
_LOGGER = logging.getLogger("widedeep.serving")


@dataclass(frozen=True, slots=True)
class CandidateVersion:
    """A new champion, where its files are, and the result of its check.

    Attributes:
        model: Name of the registered model.
        number: Number of the version.
        served: Folder of the model, see `ServedVersion`.
        history: Folder of its data.
        warm_state: File of its `WarmState`.
        fault: Why it cannot serve; None if it can.
    """

    model: str
    number: str
    served: str
    history: str
    warm_state: str
    fault: str | None

    @property
    def version(self) -> ServedVersion:
        """Return the version without the result of its check."""
        return ServedVersion(self.model, self.number, Path(self.served), Path(self.history))


class ChampionWatcher:
    """A thread that admits to a service, or refuses, what its worker process finds.

    `fatal` is the reason why the service cannot go on, None if there is none.
    """

    def __init__(
        self,
        workspace: Workspace,
        model: str | None,
        service: RankingService,
        stop: Callable[[], None],
        precision: Precision = Precision.AUTO,
    ) -> None:
        """Watch `model`, or the only one of the workspace; call `stop` when `fatal` is set."""
        self.fatal: BusyError | None = None
        arguments = (str(workspace.root), model or "", precision)
        self._command = [sys.executable, "-m", "tasks.champion_watcher_worker", *arguments]
        self._service = service
        self._stop = stop
        self._acknowledged = AcknowledgedFeedback(Path(), 0)
        self._last_seen = ""
        self._checking: str | None = None
        self._in_service = False
        self._done = Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = Thread(target=self._watch, name="champion watcher", daemon=True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch the registry while the block runs."""
        self._thread.start()
        try:
            yield
        finally:
            self._done.set()
            if self._process is not None:
                self._process.kill()
            self._thread.join()

    def _watch(self) -> None:
        while not self._done.is_set():
            status = self._run_worker([*self._command, self._last_seen])
            if not self._done.is_set():
                self._handle_exit(status)
                self._done.wait(_RESTART_SECONDS)

    def _run_worker(self, command: Sequence[str]) -> int:
        """Start the worker and receive its messages until it ends; return its exit status."""
        # In a process group of its own, so that Ctrl-C reaches the server only.
        with subprocess.Popen(  # noqa: S603  our own module
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,
        ) as self._process:
            if self._done.is_set():
                self._process.kill()
            for line in self._process.stdout or ():
                self._receive(json.loads(line))
        return self._process.returncode

    def _handle_exit(self, status: int) -> None:
        """Refuse the version that was being checked, so that it does not end the next worker."""
        if self._checking is not None:
            reason = f"the process that checked it exited with status {status}"
            self._refuse(self._checking, reason)
            self._checking = None
        _LOGGER.warning("champion watcher exited with status %s; restarting", status)

    def _receive(self, message: dict[str, Any]) -> None:
        if "error" in message:
            _LOGGER.warning("the registry cannot be read: %s", message["error"])
        elif "checking" in message:
            self._checking = message["checking"]
        elif "needs_feedback" in message:
            self._send(self._acknowledge(message["needs_feedback"]))
        else:
            self._checking = None
            self._decide(CandidateVersion(**message))

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            # A worker that has ended is noticed by the end of its output. Nothing may stay in a
            # buffer: closing the pipe would try to write it again.
            with suppress(BrokenPipeError):
                os.write(self._process.stdin.fileno(), f"{json.dumps(message)}\n".encode())

    def _acknowledge(self, model: str) -> Mapping[str, Any]:
        """Return the feedback that a version must know, or the error that prevents reading it."""
        try:
            self._acknowledged = self._service.acknowledged(model)
        except BusyError as error:
            self.fatal = error
            self._stop()
            return {"error": str(error)}
        except (InputError, OSError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        return {"path": str(self._acknowledged.path), "end": self._acknowledged.end}

    def _decide(self, candidate: CandidateVersion) -> None:
        if candidate.fault is not None:
            self._refuse(candidate.number, candidate.fault)
            return
        # A thread cannot lower its niceness again without root, so each version is loaded in a new
        # thread.
        thread = Thread(target=self._admit, args=(candidate,), name="loading")
        thread.start()
        thread.join()

    def _admit(self, candidate: CandidateVersion) -> None:
        """Load a version with as little harm to requests as possible.

        At equal priority and with no idle processor, a request waits for the end of this thread's
        time slice, 4 ms on many machines. The parts of a version live long, so `gc.freeze` spares
        the garbage collector a walk through all of them (some 30 ms without answers) while the
        next version is loaded.
        """
        if self._in_service:
            # On Linux each thread has a niceness; 0 means the calling thread.
            os.setpriority(os.PRIO_PROCESS, 0, LOADING_NICENESS)
        try:
            warm_state = _load_warm_state(candidate)
            if warm_state is None:
                return
            self._service.admit(candidate.version, warm_state, self._acknowledged)
            self._last_seen, self._in_service = candidate.number, True
            gc.freeze()
        except Exception as error:
            _LOGGER.exception("version %s cannot serve", candidate.number)
            self._refuse(candidate.number, f"{type(error).__name__}: {error}")

    def _refuse(self, number: str, reason: str) -> None:
        """Refuse a version and do not check it again."""
        self._last_seen = number
        self._service.refuse(number, reason)


def _load_warm_state(candidate: CandidateVersion) -> WarmState | None:
    """Return None if the file went with the worker that wrote it: the next worker tries again."""
    try:
        return WarmState.load(Path(candidate.warm_state))
    except FileNotFoundError:
        return None
