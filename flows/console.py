"""What the commands show on a terminal: tables, and what our own tasks log."""

import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.environment import HOST, MLFLOW_PORT, PREFECT_PORT, running_servers
from widedeep import Workspace
from widedeep.inputs import to_iso

# Commands that only look something up import this file, and do not load Prefect.
if TYPE_CHECKING:
    from tasks.ingest import Ingested
    from widedeep.data.check import CheckReport
    from widedeep.data.describe import Description

WIDTH = 120
"""Columns of the output where it is not a terminal."""

_COLOURS = {"PASS": "green", "WARN": "yellow", "FAIL": "red"}
_LOGGED_FOLDERS = {"tasks", "flows"}
_LOGGERS = ("prefect.task_runs", "prefect.flow_runs")


class ConsoleHandler(logging.Handler):
    """Writes log records of our own tasks to the present stdout, above a progress bar."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        self.addFilter(lambda record: Path(record.pathname).parent.name in _LOGGED_FOLDERS)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one log record as one line."""
        sys.stdout.write(self.format(record) + "\n")
        sys.stdout.flush()


def show_progress() -> None:
    """Show on stdout what the tasks and flows of this process log."""
    handler = ConsoleHandler()
    for name in _LOGGERS:
        logging.getLogger(name).addHandler(handler)


def show_description(description: "Description", path: Path) -> None:
    """Print what a folder was recognised as, and where the description was written."""
    console, spec = plain_console(), description.spec
    console.print(f"recognised  {description.form}")
    console.print(f"label       {escape(spec.label)}")
    features = ", ".join(f"{f.name} ({f.type.value} of the {f.side.value})" for f in spec.features)
    console.print(f"features    {escape(features) or 'none'}")
    left_out = description.text.count("# Left out:")
    console.print(f"left out    {left_out} columns, each with its reason in the file")
    console.print(f"written     {path}")
    console.print(f"look next   read it, correct it, then: widedeep check {path.parent}")


def show_check(report: "CheckReport") -> None:
    """Print a line for each check, with examples of what is wrong."""
    from widedeep.data.check import render  # noqa: PLC0415  it loads pandas

    console = plain_console()
    console.print(f"{report.folder}, by {report.form}\n")
    for line in render(report.results):
        status, rest = line[:4], line[4:]
        colour = _COLOURS.get(status)
        shown = f"[{colour}]{status}[/{colour}]" if colour is not None else status
        console.print(f"{shown}{escape(rest)}")


def plain_console() -> Console:
    """Return a console on stdout for tables and sentences: no line breaks, no coloured numbers."""
    width = None if sys.stdout.isatty() else WIDTH
    return Console(soft_wrap=True, highlight=False, width=width)


def figures(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> Table:
    """Return a table for `plain_console`: the first `words` columns are text, the rest figures."""
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.title_justify, table.title_style = "left", "bold"
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position < words else "right")
    for row in rows:
        table.add_row(*row)
    return table


def split_line(ingested: "Ingested") -> str:
    """Return the sizes of the parts of the split, with the moments between them."""
    train, validation, holdout = ingested.examples
    split = ingested.split
    return (
        f"split     {train:,} training | {to_iso(split.validation_from)} | "
        f"{validation:,} validation | {to_iso(split.holdout_from)} | "
        f"{holdout:,} holdout | {to_iso(split.as_of)}"
    )


def show_next(
    console: Console,
    workspace: Workspace,
    files: Mapping[str, str],
    pages: Mapping[str, str],
    prefect_run: str | None,
) -> None:
    """Print where a finished run's files are, how to start the two UIs, and which pages to open.

    A server that runs already is named instead of the command that starts one; the pages are the
    same either way.

    Args:
        console: Where the lines go.
        workspace: Where the run has worked.
        files: Paths, or other advice, by title.
        pages: Pages of MLflow's UI, without its address, by title.
        prefect_run: The id of the Prefect run, if there is one.
    """
    servers, programs = running_servers(workspace), Path(sys.executable).parent
    store = f"--backend-store-uri {workspace.tracking_uri} --port {MLFLOW_PORT}"
    starts = {
        "mlflow": f"{programs}/mlflow ui {store}",
        "prefect": f"PREFECT_HOME={workspace.prefect} {programs}/prefect server start",
    }
    local = {"mlflow": f"http://{HOST}:{MLFLOW_PORT}", "prefect": f"http://{HOST}:{PREFECT_PORT}"}
    opened = {"mlflow": pages}
    opened["prefect"] = {} if prefect_run is None else {"this run": f"/runs/flow-run/{prefect_run}"}
    width = max(len(title) for title in (*files, *pages)) + 4
    console.print("look next", style="bold")
    for title, path in files.items():
        console.print(f"  {title:{width}}{path}")
    for name, title in (("mlflow", "MLflow"), ("prefect", "Prefect")):
        begin = f"runs at {servers[name]}" if name in servers else starts[name]
        console.print(f"  {title:{width}}{begin}")
        for page, path in opened[name].items():
            console.print(f"    {page:{width - 2}}{servers.get(name, local[name])}{path}")
