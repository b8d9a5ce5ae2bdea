"""Which model serves, and how it came to that."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from flows.console import plain_console
from tasks.tracking import Tracker
from widedeep import decision_log
from widedeep.home import Home


def statuses(home: Home) -> list[dict[str, Any]]:
    """The contract's object for each registered model of the home."""
    if not (home.root / "mlflow.db").exists():
        return []
    tracker = Tracker(home)
    return [_status(home, tracker, model) for model in tracker.models()]


def show(found: Sequence[dict[str, Any]]) -> None:
    """Print them for people."""
    console = plain_console()
    if not found:
        console.print("no model yet; begin with: widedeep retrain")
    for one in found:
        champion = one["champion_version"] or "none"
        console.print(f"\n[bold]{one['model']}[/bold]  champion: version {champion}")
        table = Table(box=box.SIMPLE)
        for column in ("at", "version", "action"):
            table.add_column(column, no_wrap=True)
        table.add_column("reason")
        for decision in one["history"]:
            table.add_row(*(str(decision[name]) for name in ("at", "version", "action", "reason")))
        console.print(table)


def _status(home: Home, tracker: Tracker, model: str) -> dict[str, Any]:
    champion, previous = tracker.champion(model), tracker.previous(model)
    names = ("at", "version", "action", "reason")
    return {
        "model": model,
        "champion_version": champion and champion.number,
        "previous_version": previous and previous.number,
        "history": [
            {name: decision[name] for name in names}
            for decision in decision_log.history(home.decisions / model)
        ],
    }
