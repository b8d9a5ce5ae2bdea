"""Processes that outlived the one which started them, ended by whoever comes next."""

import psutil

from flows.environment import PID_VARIABLE


def stop_orphans() -> None:
    """End those whose starter, named in their environment, is dead."""
    for process in psutil.process_iter():
        try:
            starter = process.environ().get(PID_VARIABLE)
            if starter is not None and not psutil.pid_exists(int(starter)):
                process.terminate()
        except psutil.Error:
            continue
