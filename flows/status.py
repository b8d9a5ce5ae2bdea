"""Which version of each model serves, and what was decided.

Aliases are read straight from MLflow's SQLite file where the workspace has one, and through MLflow
otherwise: importing MLflow and Prefect would take many times as long as the answer.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from flows.console import plain_console
from widedeep import Workspace
from widedeep.inputs import Moment
from widedeep.workspace import BusyError

Aliases = Mapping[str, str]
"""Version number by alias, of one model."""

_SQLITE = "sqlite:///"
_SQLITE_SECONDS = 60.0
"""How long to wait for a transaction of MLflow's to end."""
_QUERY = """
    select name, alias, version
    from registered_models left join registered_model_aliases using (name)
"""
_SHOWN = ("at", "version", "action", "reason")
"""Entries of a decision in `status --json`."""


def statuses(workspace: Workspace, at: Moment | None = None) -> list[dict[str, Any]]:
    """Return the status of each registered model, as `widedeep status --json` prints it.

    A move that was interrupted is finished, and one that was made in MLflow itself is recorded,
    unless a run holds the workspace.

    Args:
        workspace: Where the registry and the decisions are.
        at: What served at this moment, from the records alone. None: what serves now.
    """
    if not workspace.has_tracking_store:
        return []
    aliases = _read_aliases(workspace)
    if at is not None:
        return [_past_status(workspace, model, at) for model in aliases]
    unsettled = [model for model in aliases if _is_unsettled(workspace, model, aliases[model])]
    if unsettled and _settle(workspace, unsettled):
        aliases = _read_aliases(workspace)
    return [_status(workspace, model, aliases[model]) for model in aliases]


def model_status(workspace: Workspace, model: str) -> dict[str, Any]:
    """Return the present status of one registered model."""
    return next(status for status in statuses(workspace) if status["model"] == model)


def show_statuses(models: Sequence[Mapping[str, Any]], *, all_reasons: bool = False) -> None:
    """Print the champion and the decisions of each model, with the first or all reasons."""
    console = plain_console()
    if not models:
        console.print("no model yet; begin with: widedeep retrain")
    for status in models:
        champion = status["champion_version"] or "none"
        console.print(f"\n[bold]{status['model']}[/bold]  champion: version {champion}")
        table = Table(box=box.SIMPLE)
        for column in _SHOWN:
            table.add_column(column, no_wrap=column != "reason")
        for decision in status["history"]:
            at, version, action, reason = (str(decision[column]) for column in _SHOWN)
            shown = reason.replace("; ", "\n") if all_reasons else reason.partition("; ")[0]
            table.add_row(at, version, action, escape(shown))
        console.print(table)


def _status(workspace: Workspace, model: str, aliases: Aliases) -> dict[str, Any]:
    decisions = workspace.decision_log(model).history()
    return _as_json(model, aliases.get("champion"), aliases.get("previous"), decisions)


def _past_status(workspace: Workspace, model: str, at: Moment) -> dict[str, Any]:
    until = datetime.fromtimestamp(at, UTC)
    decisions = [
        decision
        for decision in workspace.decision_log(model).history()
        if datetime.fromisoformat(decision["at"]) <= until
    ]
    moves = [d for d in decisions if d["champion_version"] != d["replaced_version"]]
    last = moves[-1] if moves else {"champion_version": None, "replaced_version": None}
    return _as_json(model, last["champion_version"], last["replaced_version"], decisions)


def _as_json(
    model: str, champion: str | None, previous: str | None, decisions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    return {
        "model": model,
        "champion_version": champion,
        "previous_version": previous,
        "history": [{name: decision[name] for name in _SHOWN} for decision in decisions],
    }


def _is_unsettled(workspace: Workspace, model: str, aliases: Aliases) -> bool:
    """Return whether the registry and the decision log disagree about the champion."""
    log = workspace.decision_log(model)
    decisions = log.history()
    recorded = decisions[-1]["champion_version"] if decisions else None
    return log.pending() is not None or recorded != aliases.get("champion")


def _settle(workspace: Workspace, models: Sequence[str]) -> bool:
    """Bring registry and decision log into agreement; return False if a run holds the workspace."""
    from tasks.model_store import ModelStore
    from tasks.registry import Registry

    try:
        with workspace.exclusive():
            store = ModelStore(workspace)
            for model in models:
                Registry(workspace, store, model).champion()
    except BusyError:
        return False
    return True


def _read_aliases(workspace: Workspace) -> dict[str, Aliases]:
    """Return the aliases of each registered model, by the model's name."""
    uri = workspace.tracking_uri
    if uri.startswith(_SQLITE):
        try:
            return _aliases_in_file(Path(uri.removeprefix(_SQLITE)))
        except sqlite3.Error:
            pass  # MLflow repairs a file that a killed process left, and knows other tables
    from tasks.model_store import ModelStore

    store = ModelStore(workspace)
    return {model: store.aliases(model) for model in store.models()}


def _aliases_in_file(path: Path) -> dict[str, Aliases]:
    """Read MLflow's SQLite file.

    Raises:
        sqlite3.Error: It cannot be read without being written, or has other tables.
    """
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, _SQLITE_SECONDS, uri=True)) as database:
        rows = database.execute(_QUERY).fetchall()
    aliases: dict[str, dict[str, str]] = {model: {} for model in sorted({row[0] for row in rows})}
    for model, alias, version in rows:
        if alias is not None:
            aliases[model][alias] = str(version)
    return dict(aliases)
