"""Who served when, and why: one small write-once file for each decision."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def record(folder: Path, decision: Mapping[str, Any]) -> Path:
    """Write `decision` with the moment (`at`, ISO-8601 UTC) into `folder`; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    at = datetime.now(UTC)
    text = json.dumps({"at": at.isoformat(timespec="seconds"), **decision}, ensure_ascii=False)
    path = folder / f"{at:%Y%m%dT%H%M%S.%f}.json"
    draft = path.with_suffix(".draft")
    with draft.open("x", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return path


def history(folder: Path) -> list[dict[str, Any]]:
    """All decisions of a folder, the oldest first."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
