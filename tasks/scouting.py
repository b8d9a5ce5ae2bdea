"""New champions on their way from the registry to a server."""

import gc
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from widedeep.home import BusyError, Home
from widedeep.serving.bundle import ServedVersion
from widedeep.serving.service import Service

LOOK_EVERY = 0.5
"""Seconds."""

LATER_THAN_USERS = 10
"""Niceness, while a version answers, of what tries the next one and of the thread that loads it."""

_BEGIN_AGAIN = 5.0
_LOGGER = logging.getLogger("widedeep.serving")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A new champion, where its files are, and what is wrong with it (None: nothing)."""

    model: str
    number: str
    served: str
    history: str
    fault: str | None


class Scout:
    """A thread that hands what a process of `scout.py` sees to a service, and keeps it going."""

    def __init__(
        self, home: Home, model: str | None, service: Service, stop: Callable[[], None]
    ) -> None:
        """`stop` is called if the service can't go on; `fatal` says why."""
        self.fatal: BusyError | None = None
        self._command = [sys.executable, "-m", "tasks.scout", str(home.root), model or ""]
        self._command.append(service.precision)
        self._seen = ""
        self._trying = False
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
            # In a group of its own, Ctrl-C reaches the server alone.
            with subprocess.Popen(  # noqa: S603  our own module
                [*self._command, self._seen],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                process_group=0,
            ) as self._process:
                if self._done.is_set():
                    self._process.kill()
                for line in self._process.stdout or ():
                    self._hear(json.loads(line))
            if not self._done.is_set():
                self._lost(self._process.returncode)
                self._done.wait(_BEGIN_AGAIN)

    def _lost(self, status: int) -> None:
        """A process that died while it tried a version was killed by it: not to be tried again."""
        if self._trying:
            self._trying = False
            self._service.refuse(self._seen, f"it ended the process that tried it ({status})")
        _LOGGER.warning("the watch over the registry ended (%s); it begins again", status)

    def _hear(self, told: dict[str, Any]) -> None:
        if "trouble" in told:
            _LOGGER.warning("the registry cannot be read: %s", told["trouble"])
        elif "trying" in told:
            self._seen, self._trying = told["trying"], True
        else:
            self._trying = False
            self._decide(Sighting(**told))

    def _decide(self, sighting: Sighting) -> None:
        if sighting.fault is not None:
            self._service.refuse(sighting.number, sighting.fault)
            return
        version = ServedVersion(
            sighting.model, sighting.number, Path(sighting.served), Path(sighting.history)
        )
        # Who has made way cannot go back (without privileges): a thread for each version.
        loading = Thread(target=self._admit, args=(version,), name="loading")
        loading.start()
        loading.join()

    def _admit(self, version: ServedVersion) -> None:
        """Load a version, out of the way of who is answered.

        At an equal priority, who answers waits for the end of this thread's turn, 4 ms on many
        machines, wherever no processor is idle. What a version is made of stays for long, so the
        garbage collector need not look through all of it (some 30 ms, in which nobody is answered)
        while the next one is loaded.
        """
        if self._served:
            # Linux has priorities of threads: 0 is this one.
            os.setpriority(os.PRIO_PROCESS, 0, LATER_THAN_USERS)
        try:
            self._service.admit(version)
            self._served = True
            gc.freeze()
        except BusyError as error:
            self.fatal = error
            self._stop()
        except Exception as error:
            _LOGGER.exception("version %s cannot serve", version.number)
            self._service.refuse(version.number, f"{type(error).__name__}: {error}")
