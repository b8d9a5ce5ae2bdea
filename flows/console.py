"""What the commands show on a terminal: what our own tasks say, and nothing of the machinery."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tasks.ingest import Ingested
from widedeep.inputs import to_iso
from widedeep.workspace import Workspace

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


def figures(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> Table:
    """A table for `plain_console`: the first `words` columns are text, the rest figures."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.title_justify, table.title_style = "left", "bold"
    for place, column in enumerate(columns):
        table.add_column(column, justify="left" if place < words else "right")
    for row in rows:
        table.add_row(*row)
    return table


def split_line(ingested: Ingested) -> str:
    """The parts of the split and the moments between them."""
    train, validation, holdout = ingested.examples
    split = ingested.split
    return (
        f"split     {train:,} training | {to_iso(split.validation_from)} | {validation:,} validation "
        f"| {to_iso(split.holdout_from)} | {holdout:,} holdout | {to_iso(split.as_of)}"
    )


def show_files(
    console: Console, files: Mapping[str, str], workspace: Workspace, experiment: str, what: str
) -> None:
    """Say where files and MLflow's experiment are; `what` is to be ticked there."""
    console.print("look next", style="bold")
    for name, path in files.items():
        console.print(f"  {name:8} {path}")
    console.print(f"  MLflow   .venv/bin/mlflow ui --backend-store-uri {workspace.tracking_uri}")
    console.print(f"           experiment {experiment}: tick {what}, press Compare")


def show_progress() -> None:
    """Let this process's runs speak on stdout."""
    handler = ConsoleHandler()
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)
