"""New champions on their way from the registry to a server."""

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

from widedeep.choices import Precision
from widedeep.inputs import InputError
from widedeep.serving.service import Acknowledged, RankingService
from widedeep.serving.serving_model import ServedVersion, WarmState
from widedeep.workspace import BusyError, Workspace

LOOK_EVERY = 0.5
"""Seconds."""

LATER, LAST = 10, 19
"""Niceness, while a version answers, of the thread that loads the next and of what tries it."""

_BEGIN_AGAIN = 5.0
_LOGGER = logging.getLogger("widedeep.serving")


@dataclass(frozen=True, slots=True)
class CandidateVersion:
    """A new champion and where its files are.

    `groundwork` is the file of its `WarmState`, and `fault` what is wrong with it (None: nothing).
    """

    model: str
    number: str
    served: str
    history: str
    groundwork: str
    fault: str | None

    @property
    def version(self) -> ServedVersion:
        """What is served."""
        return ServedVersion(self.model, self.number, Path(self.served), Path(self.history))


class ChampionWatcher:
    """A thread that hands what a process of `scout.py` sees to a service, and keeps it going."""

    def __init__(
        self,
        workspace: Workspace,
        model: str | None,
        service: RankingService,
        stop: Callable[[], None],
        precision: Precision = Precision.AUTO,
    ) -> None:
        """`stop` is called if the service can't go on; `fatal` says why."""
        self.fatal: BusyError | None = None
        said = (str(workspace.root), model or "", precision)
        self._command = [sys.executable, "-m", "tasks.champion_watcher_worker", *said]
        self._told = Acknowledged(Path(), 0)
        self._seen = ""
        self._trying: str | None = None
        self._served = False
        self._service = service
        self._stop = stop
        self._done = Event()
        self._process: subprocess.Popen[str] | None = None
        self._thread = Thread(target=self._follow, name="scout", daemon=True)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Scout while the block works."""
        self._thread.start()
        try:
            yield
        finally:
            self._done.set()
            if self._process is not None:
                self._process.kill()
            self._thread.join()

    def _follow(self) -> None:
        while not self._done.is_set():
            status = self._hear_out([*self._command, self._seen])
            if not self._done.is_set():
                self._lost(status)
                self._done.wait(_BEGIN_AGAIN)

    def _hear_out(self, command: Sequence[str]) -> int:
        """Listen to a process until it ends; its status."""
        # In a group of its own, Ctrl-C reaches the server alone.
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
                self._hear(json.loads(line))
        return self._process.returncode

    def _lost(self, status: int) -> None:
        """A process that died while it tried a version was killed by it: not to be tried again."""
        if self._trying is not None:
            self._refuse(self._trying, f"it ended the process that tried it ({status})")
            self._trying = None
        _LOGGER.warning("the watch over the registry ended (%s); it begins again", status)

    def _hear(self, told: dict[str, Any]) -> None:
        if "trouble" in told:
            _LOGGER.warning("the registry cannot be read: %s", told["trouble"])
        elif "trying" in told:
            self._trying = told["trying"]
        elif "wanting" in told:
            self._say(self._acknowledged(told["wanting"]))
        else:
            self._trying = None
            self._decide(CandidateVersion(**told))

    def _say(self, answer: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            # Whoever ended meanwhile is found out by the end of its output. Nothing may stay in a
            # buffer: it would be written once more, to nobody, where the pipe is closed.
            with suppress(BrokenPipeError):
                os.write(self._process.stdin.fileno(), f"{json.dumps(answer)}\n".encode())

    def _acknowledged(self, model: str) -> Mapping[str, Any]:
        """The ratings that a version must know, or why there are none to be had."""
        try:
            self._told = self._service.acknowledged(model)
        except BusyError as error:
            self.fatal = error
            self._stop()
            return {"trouble": str(error)}
        except (InputError, OSError) as error:
            return {"trouble": f"{type(error).__name__}: {error}"}
        return {"path": str(self._told.path), "end": self._told.end}

    def _decide(self, sighting: CandidateVersion) -> None:
        if sighting.fault is not None:
            self._refuse(sighting.number, sighting.fault)
            return
        # Who has made way cannot go back (without privileges): a thread for each version.
        loading = Thread(target=self._admit, args=(sighting,), name="loading")
        loading.start()
        loading.join()

    def _admit(self, sighting: CandidateVersion) -> None:
        """Load a version, out of the way of who is answered.

        At an equal priority, who answers waits for the end of this thread's turn, 4 ms on many
        machines, wherever no processor is idle. What a version is made of stays for long, so the
        garbage collector need not look through all of it (some 30 ms, in which nobody is answered)
        while the next one is loaded.
        """
        if self._served:
            # Linux has priorities of threads: 0 is this one.
            os.setpriority(os.PRIO_PROCESS, 0, LATER)
        try:
            groundwork = _handed_over(sighting)
            if groundwork is None:
                # Who did it ended since, and with it the file: the next one tries again.
                return
            self._service.admit(sighting.version, groundwork, self._told)
            self._seen, self._served = sighting.number, True
            gc.freeze()
        except Exception as error:
            _LOGGER.exception("version %s cannot serve", sighting.number)
            self._refuse(sighting.number, f"{type(error).__name__}: {error}")

    def _refuse(self, number: str, reason: str) -> None:
        """A version that is not to be tried again."""
        self._seen = number
        self._service.refuse(number, reason)


def _handed_over(sighting: CandidateVersion) -> WarmState | None:
    """What was done for a version, if its file is still there."""
    try:
        return WarmState.load(Path(sighting.groundwork))
    except FileNotFoundError:
        return None
