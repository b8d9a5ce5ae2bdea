"""The end of a replay, for people."""

from flows.console import figures, plain_console, show_files
from flows.replay import Replayed
from widedeep.evaluation.replay_table import COLUMNS
from widedeep.home import Home


def show(found: Replayed, home: Home) -> None:
    """Print the policies, what the gate was worth, and where to look next."""
    console = plain_console()
    report, summary = found.as_json(), found.summary.summary
    console.print(f"\n[bold]{found.ingested.model}[/bold]  ({found.ingested.source.origin})")
    console.print(figures(COLUMNS, summary["rows"], words=1))
    console.print("\nthe gate", style="bold")
    for sentence in summary["sentences"]:
        console.print(f"  {sentence}")
    console.print()
    files = {name: report[name] for name in ("plot", "table", "numbers")}
    show_files(console, files, home, f"{report['model']}-replay", "the policies")
