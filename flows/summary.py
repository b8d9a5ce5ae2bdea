"""The end of a run, for people."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from flows.console import plain_console, split_line
from flows.report import Report
from tasks.ingest import describe
from widedeep.evaluation.headlines import HEADLINES
from widedeep.home import Home


def show(report: Report, home: Home) -> None:
    """Print data, split, comparison, decision, and where to look next."""
    console = plain_console()
    ingested = report.job.ingested
    counts = ingested.counts
    console.print()
    console.print(f"[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    console.print(
        f"rows      {counts.read:,} read = {counts.examples:,} examples + "
        f"{counts.superseded:,} superseded + {counts.quarantined:,} set aside"
    )
    if ingested.arrivals is not None:
        console.print(f"arrived   {describe(ingested.arrivals)}")
    console.print(split_line(ingested))
    console.print(f"start     {report.job.start.reason}")
    console.print(_table(report))
    _show_decision(report, console)
    _show_next(report, home, console)


def _table(report: Report) -> Table:
    found = report.evaluation.summary
    opponent = "champion" if found["champion"] else "user + movie mean"
    theirs = found["champion"] or found["baseline"]
    table = Table("holdout", "challenger", opponent, "difference, 95 % interval", box=box.SIMPLE)
    for protocol, metric, title in HEADLINES:
        ours, other = found["challenger"][protocol][metric], theirs[protocol][metric]
        interval = _interval(found["difference"], protocol, metric)
        if ours is None or other is None:
            table.add_row(title, "no user has rows to rank", "", "")
        else:
            table.add_row(title, f"{ours:.4f}", f"{other:.4f}", f"{ours - other:+.4f}{interval}")
    return table


def _interval(difference: Mapping[str, Any] | None, protocol: str, metric: str) -> str:
    """The bootstrap's interval, for the two metrics that have one."""
    if difference is None or protocol != "streaming" or metric not in difference:
        return ""
    low, high = difference[metric]["low"], difference[metric]["high"]
    return f"  [{low:+.4f}, {high:+.4f}]"


def _show_decision(report: Report, console: Console) -> None:
    decision = report.outcome.decision
    champion = report.outcome.champion
    serving = f"version {champion} is the champion" if champion else "there is no champion yet"
    console.print(
        f"decision  [bold]{decision.verdict}[/bold] version {report.outcome.version}; {serving}"
    )
    for reason in decision.reasons:
        console.print(f"          - {reason}")
    times = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in report.seconds.items())
    console.print(f"seconds   {times}")


def _show_next(report: Report, home: Home, console: Console) -> None:
    console.print("\nlook next", style="bold")
    lines = (
        f"  predictions  {report.as_json()['predictions']}",
        f"  MLflow       .venv/bin/mlflow ui --backend-store-uri {home.tracking_uri}",
        f"  Prefect      PREFECT_HOME={home.prefect} .venv/bin/prefect server start",
    )
    for line in lines:
        console.print(line)
