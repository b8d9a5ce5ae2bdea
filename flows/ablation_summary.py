"""The end of an ablation, for people."""

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from flows.ablation import Ablation
from flows.console import plain_console
from flows.window import split_line
from widedeep.evaluation.ablation_table import NOTE
from widedeep.home import Home


def show(found: Ablation, home: Home) -> None:
    """Print data, tables, and where to look next."""
    console = plain_console()
    ingested, report = found.ingested, found.as_json()
    console.print(f"\n[bold]{ingested.model}[/bold]  ({ingested.source.origin})")
    console.print(split_line(ingested))
    summary = found.comparison.summary
    for table in (*summary["tables"], *summary["slice_tables"]):
        console.print()
        console.print(_table(table))
    console.print(f"\n{NOTE}\n")
    _show_next(report, home, console)


def _table(found: Mapping[str, Any]) -> Table:
    table = Table(title=found["title"], box=box.SIMPLE, show_edge=False, pad_edge=False)
    table.title_justify, table.title_style, table.padding = "left", "bold", (0, 1, 0, 0)
    for place, column in enumerate(found["columns"]):
        table.add_column(column, justify="left" if place < found["words"] else "right")
    for row in found["rows"]:
        table.add_row(*row)
    return table


def _show_next(report: Mapping[str, Any], home: Home, console: Console) -> None:
    console.print("look next", style="bold")
    for name in ("plot", "table", "numbers", "slices"):
        console.print(f"  {name:8} {report[name]}")
    uri = home.tracking_uri
    console.print(f"  MLflow   .venv/bin/mlflow ui --backend-store-uri {uri}")
    console.print(f"           experiment {report['model']}-ablation: tick runs, press Compare")
