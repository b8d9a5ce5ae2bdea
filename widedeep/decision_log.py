"""Which model served when, and why: one small write-once JSON file for each decision.

The files of a model lie in one folder. A decision that moves an alias of the registry is written
as pending by `begin` before the move, and `finish` makes it part of the history afterwards. If the
process is killed in between, the next one finds the pending decision and can complete the move.
A decision that moves nothing is written by `record`.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from widedeep.store import atomic_write

_PENDING = ".pending"


def begin(folder: Path, decision: Mapping[str, Any]) -> Path:
    """Write `decision` as pending, with the moment as `at` (ISO-8601, UTC); return its file."""
    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    text = json.dumps({"at": at.isoformat(timespec="seconds"), **decision}, ensure_ascii=False)
    path = folder / f"{at:%Y%m%dT%H%M%S.%f}{_PENDING}"
    with atomic_write(path) as draft:
        draft.write_text(text + "\n", encoding="utf-8")
    return path


def finish(pending: Path) -> Path:
    """Make a pending decision part of the history; return its new file."""
    return pending.rename(pending.with_suffix(".json"))


def record(folder: Path, decision: Mapping[str, Any]) -> Path:
    """Write a decision that moves no alias; return its file."""
    return finish(begin(folder, decision))


def pending(folder: Path) -> Path | None:
    """Return the file of the newest pending decision, whose move may not have happened."""
    return max(folder.glob(f"*{_PENDING}"), default=None)


def read(file: Path) -> dict[str, Any]:
    """Return the decision that a file of the log holds."""
    decision: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return decision


def history(folder: Path) -> list[dict[str, Any]]:
    """Return all finished decisions of one model's folder, oldest first."""
    return [read(file) for file in sorted(folder.glob("*.json"))]


def recorded_models(folder: Path) -> list[str]:
    """Return the names of the models with a folder of finished decisions below `folder`."""
    return sorted({file.parent.name for file in folder.glob("*/*.json")})
