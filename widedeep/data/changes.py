"""What a data set gained since a model last learned from it, and what of its past has changed.

The files are the truth: a rating that was changed in them, or removed, is learned as it stands now.
But this changes the past of a model's history, so such rows are counted and listed, never absorbed
silently. The artefact (kind `arrivals`) that `compare_data` returns holds

| file | content |
|---|---|
| unexpected.parquet | each late, changed or gone rating: `what`, user, item, time, both values |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from widedeep.data.tables import IngestedData
from widedeep.store import Artifact, ArtifactStore, Json, code_version

KIND = "arrivals"
UNEXPECTED_FILE = "unexpected.parquet"
CHANGES = ("new", "late", "changed", "gone")
"""How a rating can differ; items and files are never late."""

_EVENT = ["user", "item", "time"]
_RATING = [*_EVENT, "value"]
_THEN, _NOW = "value_then", "value_now"
_COLUMNS = ["what", *_EVENT, _THEN, _NOW]


def compare_data(before: Artifact, after: Artifact, store: ArtifactStore) -> Artifact:
    """Compare two artefacts of `ingest`; the summary holds the counts.

    Ratings are `new` (later than all ratings before), `late` (not later), `changed` (the same user,
    item and time with another value) or `gone`; items and files are new, changed or gone.

    Raises:
        InputError: The earlier artefact was made by a version whose tables cannot be read.
    """
    key = {"before": before.id, "after": after.id, "code": code_version("data")}

    def build(folder: Path) -> Json:
        ratings = _RatingChanges.compute(IngestedData(before), IngestedData(after))
        pq.write_table(ratings.unexpected(), folder / UNEXPECTED_FILE)
        return {
            "interactions": ratings.counts(),
            "items": _count_changes(_items_by_id(before), _items_by_id(after)),
            "files": _count_changes(before.key["files"], after.key["files"]),
        }

    return store.get_or_build(KIND, key, build)


@dataclass(frozen=True, slots=True)
class _RatingChanges:
    """Ratings that differ between two states, by how they differ, as in `CHANGES`."""

    new: pa.Table
    late: pa.Table
    changed: pa.Table
    gone: pa.Table

    @classmethod
    def compute(cls, before: IngestedData, after: IngestedData) -> Self:
        """Compare two states by user, item, time and value."""
        then, now = _all_ratings(before), _all_ratings(after)
        removed = then.join(now, _RATING, join_type="left anti")
        added = now.join(then, _RATING, join_type="left anti")
        changed = _rename_value(removed, _THEN).join(
            _rename_value(added, _NOW), _EVENT, join_type="inner"
        )
        added = added.join(changed, _EVENT, join_type="left anti")
        gone = removed.join(changed, _EVENT, join_type="left anti")
        late = pc.less_equal(added["time"], before.last_time)
        return cls(added.filter(pc.invert(late)), added.filter(late), changed, gone)

    def counts(self) -> dict[str, int]:
        """Return the number of ratings by how they differ."""
        return {name: len(getattr(self, name)) for name in CHANGES}

    def unexpected(self) -> pa.Table:
        """Return all ratings that are not new as one sorted table."""
        tables = {
            "late": _rename_value(self.late, _NOW),
            "changed": self.changed,
            "gone": _rename_value(self.gone, _THEN),
        }
        parts = []
        for what, table in tables.items():
            columns = {"what": pa.repeat(what, len(table))} | {
                name: table[name]
                if name in table.column_names
                else pa.nulls(len(table), pa.float32())
                for name in _COLUMNS[1:]
            }
            parts.append(pa.table(columns))
        return pa.concat_tables(parts).sort_by([(name, "ascending") for name in _COLUMNS])


def _all_ratings(data: IngestedData) -> pa.Table:
    """Return each distinct (user, item, time, value), superseded ratings included."""
    paths = (data.artifact.path / f"{name}.parquet" for name in ("ratings", "superseded"))
    ratings = pa.concat_tables(pq.read_table(path, columns=_RATING) for path in paths)
    return ratings.group_by(_RATING).aggregate([]).select(_RATING)


def _rename_value(ratings: pa.Table, name: str) -> pa.Table:
    return ratings.select(_RATING).rename_columns([*_EVENT, name])


def _items_by_id(artifact: Artifact) -> dict[int, Any]:
    return {item["item"]: item for item in IngestedData(artifact).side_tables().items.to_pylist()}


def _count_changes(then: Mapping[Any, Any], now: Mapping[Any, Any]) -> dict[str, int]:
    """Count the keys that are new or gone, and those whose values differ."""
    return {
        "new": len(now.keys() - then.keys()),
        "changed": sum(now[key] != then[key] for key in now.keys() & then.keys()),
        "gone": len(then.keys() - now.keys()),
    }
