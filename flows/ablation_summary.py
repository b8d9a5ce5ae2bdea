"""The end of an ablation, for people."""

from flows.ablation import Ablation
from flows.console import figures, plain_console, show_files, split_line
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
        shown = figures(table["columns"], table["rows"], table["words"])
        shown.title = table["title"]
        console.print(shown)
    console.print(f"\n{NOTE}\n")
    files = {name: report[name] for name in ("plot", "table", "numbers", "slices")}
    show_files(console, files, home, f"{report['model']}-ablation", "runs")
