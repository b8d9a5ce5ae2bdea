"""Processes that outlived the one which started them, ended by whoever comes next."""

from collections.abc import Iterator
from contextlib import suppress

import psutil

from flows.environment import PID_VARIABLE


def stop_orphans() -> None:
    """End those whose starter, named in their environment, is dead."""
    for process, starter in processes_with(PID_VARIABLE):
        if not psutil.pid_exists(int(starter)):
            with suppress(psutil.Error):
                process.terminate()


def processes_with(variable: str) -> Iterator[tuple[psutil.Process, str]]:
    """The processes of this machine that began with a variable in their environment, and its value.

    Those that may not be looked into, or have just ended, are passed over.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            value = process.environ().get(variable)
            if value is not None:
                yield process, value
