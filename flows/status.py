"""Which model serves, and how it came to that."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.table import Table

from flows.console import plain_console
from tasks.tracking import Tracker
from widedeep import decision_log
from widedeep.workspace import Workspace


def statuses(workspace: Workspace, at: int | None = None) -> list[dict[str, Any]]:
    """The contract's object for each registered model of the home.

    As it is, or as it was at a moment (UNIX seconds), which is read from the records alone.
    """
    if not workspace.tracked:
        return []
    tracker = Tracker(workspace)
    return [_status(workspace, tracker, model, at) for model in tracker.models()]


def show_status(found: Sequence[dict[str, Any]]) -> None:
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


def _status(workspace: Workspace, tracker: Tracker, model: str, at: int | None) -> dict[str, Any]:
    decisions = decision_log.history(workspace.decisions / model)
    if at is None:
        found, before = tracker.champion(model), tracker.previous(model)
        champion, previous = (one and one.number for one in (found, before))
    else:
        until = datetime.fromtimestamp(at, UTC)
        decisions = [one for one in decisions if datetime.fromisoformat(one["at"]) <= until]
        champion, previous = _served(decisions)
    names = ("at", "version", "action", "reason")
    return {
        "model": model,
        "champion_version": champion,
        "previous_version": previous,
        "history": [{name: decision[name] for name in names} for decision in decisions],
    }


def _served(decisions: Sequence[dict[str, Any]]) -> tuple[str | None, str | None]:
    """Which version served after all these decisions, and which before it."""
    moves = [one for one in decisions if one["champion_version"] != one["replaced_version"]]
    return (moves[-1]["champion_version"], moves[-1]["replaced_version"]) if moves else (None, None)
