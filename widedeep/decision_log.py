"""Which version of a model served when, and why: one small write-once JSON file a decision.

A decision that moves an alias of the registry is written as pending by `begin` before the move, and
`finish` makes it part of the history afterwards. If the process is killed in between, the next one
finds the pending decision and can complete the move. `record` writes a decision that moves nothing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from widedeep.store import atomic_write

_PENDING = ".pending"


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """The decisions on one model; their files lie in `folder`."""

    folder: Path

    def begin(self, decision: Mapping[str, Any]) -> Path:
        """Write a decision as pending, with the moment as `at` (ISO-8601, UTC); return its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        at = datetime.now(UTC)
        text = json.dumps({"at": at.isoformat(timespec="seconds"), **decision}, ensure_ascii=False)
        path = self.folder / f"{at:%Y%m%dT%H%M%S.%f}{_PENDING}"
        with atomic_write(path) as draft:
            draft.write_text(text + "\n", encoding="utf-8")
        return path

    @staticmethod
    def finish(pending: Path) -> None:
        """Make a pending decision, by its file, part of the history."""
        pending.rename(pending.with_suffix(".json"))

    def record(self, decision: Mapping[str, Any]) -> None:
        """Write a decision that moves no alias."""
        self.finish(self.begin(decision))

    def pending(self) -> Path | None:
        """Return the file of the newest pending decision, whose move may not have happened."""
        return max(self.folder.glob(f"*{_PENDING}"), default=None)

    @staticmethod
    def read(file: Path) -> dict[str, Any]:
        """Return the decision that a file of the log holds."""
        decision: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return decision

    def history(self) -> list[dict[str, Any]]:
        """Return all finished decisions, the oldest first."""
        return [self.read(file) for file in sorted(self.folder.glob("*.json"))]
