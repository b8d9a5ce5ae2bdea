"""The end of a run, for people."""

from rich import box
from rich.console import Console
from rich.table import Table

from flows.console import plain_console, split_line
from flows.report import Report
from tasks.ingest import describe
from widedeep.evaluation.headlines import headlines, opponent
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
    columns = ("holdout", "challenger", opponent(found), "difference, 95 % interval")
    table = Table(*columns, box=box.SIMPLE)
    for one in headlines(found):
        if one.challenger is None or one.other is None:
            table.add_row(one.title, "no user has rows to rank", "", "")
            continue
        apart = f"{one.challenger - one.other:+.4f}  {one.interval}".rstrip()
        table.add_row(one.title, f"{one.challenger:.4f}", f"{one.other:.4f}", apart)
    return table


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
