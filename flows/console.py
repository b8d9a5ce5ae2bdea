"""What the commands show on a terminal: what our own tasks say, and nothing of the machinery."""

import logging
import sys
from pathlib import Path

from rich.console import Console

WIDTH = 120
"""Columns where there is no terminal to ask."""

_OURS = {"tasks", "flows"}
_LOGGERS = ("prefect.task_runs", "prefect.flow_runs")


class ConsoleHandler(logging.Handler):
    """Writes to whatever stdout is at the moment, so that lines stay above a progress bar."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self.addFilter(lambda record: Path(record.pathname).parent.name in _OURS)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        sys.stdout.write(self.format(record) + "\n")
        sys.stdout.flush()


def plain_console() -> Console:
    """Stdout for tables and sentences: lines are not broken, numbers not coloured."""
    width = None if sys.stdout.isatty() else WIDTH
    return Console(soft_wrap=True, highlight=False, width=width)


def show_progress() -> None:
    """Let this process's runs speak on stdout."""
    handler = ConsoleHandler()
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
