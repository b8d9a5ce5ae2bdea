"""The end of a replay, for people."""

from rich import box
from rich.table import Table

from flows.console import plain_console
from flows.replay import Replayed
from widedeep.evaluation.replay_table import COLUMNS
from widedeep.home import Home


def show(found: Replayed, home: Home) -> None:
    """Print the policies, what the gate was worth, and where to look next."""
    console = plain_console()
    report, summary = found.as_json(), found.summary.summary
    console.print(f"\n[bold]{found.ingested.model}[/bold]  ({found.ingested.source.origin})")
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False)
    for place, column in enumerate(COLUMNS):
        table.add_column(column, justify="right" if place else "left")
    for row in summary["rows"]:
        table.add_row(*row)
    console.print(table)
    console.print("\nthe gate", style="bold")
    for sentence in summary["sentences"]:
        console.print(f"  {sentence}")
    console.print("\nlook next", style="bold")
    for name in ("plot", "table", "numbers"):
        console.print(f"  {name:8} {report[name]}")
    console.print(f"  MLflow   .venv/bin/mlflow ui --backend-store-uri {home.tracking_uri}")
    console.print(f"           experiment {report['model']}-replay: tick the policies, Compare")
