"""Who served when, and why: one small write-once file for each decision.

A decision that moves something is written as pending before the move and becomes part of the
history after it. Killed in between, it is found pending, and whoever comes next can finish it.

Which of several registered models a command means.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from widedeep.inputs import InputError

_PENDING = ".pending"


def begin(folder: Path, decision: Mapping[str, Any]) -> Path:
    """Write `decision` with the moment (`at`, ISO-8601 UTC) as pending; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    text = json.dumps({"at": at.isoformat(timespec="seconds"), **decision}, ensure_ascii=False)
    path = folder / f"{at:%Y%m%dT%H%M%S.%f}{_PENDING}"
    draft = path.with_suffix(".draft")
    with draft.open("x", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path


def finish(pending: Path) -> Path:
    """Make a pending decision part of the history; returns the file."""
    return pending.rename(pending.with_suffix(".json"))


def record(folder: Path, decision: Mapping[str, Any]) -> Path:
    """Write a decision that moves nothing; returns the file."""
    return finish(begin(folder, decision))


def pending(folder: Path) -> Path | None:
    """The decision whose move may not have happened."""
    return max(folder.glob(f"*{_PENDING}"), default=None)


def read(file: Path) -> dict[str, Any]:
    """One decision."""
    decision: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return decision


def history(folder: Path) -> list[dict[str, Any]]:
    """All decisions of a folder, the oldest first."""
    return [read(file) for file in sorted(folder.glob("*.json"))]


def subjects(folder: Path) -> list[str]:
    """Of whom there are decisions in the folders below `folder`."""
    return sorted({file.parent.name for file in folder.glob("*/*.json")})


def chosen_model(models: Sequence[str], wanted: str | None) -> str:
    """`wanted`, or the only one of `models` (at least one).

    Raises:
        InputError: There is none of that name, or there are several and none is named.
    """
    if wanted is None and len(models) > 1:
        raise InputError(f"there are several models; name one by --model: {', '.join(models)}")
    if wanted is not None and wanted not in models:
        raise InputError(f"no model {wanted!r}; there are: {', '.join(models)}")
    return wanted or models[0]
