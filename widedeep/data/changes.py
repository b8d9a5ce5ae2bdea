"""What a data set gained since it was last learned from, and what of it is no longer as it was.

The files are the truth: a rating that was changed or taken out of them is learned as it stands now.
But the past of a model's history moves with it, so such rows are counted and listed, never absorbed
in silence. The artefact (kind `arrivals`) holds

| file | content |
|---|---|
| unexpected.parquet | each rating that is late, changed or gone: `what`, user, item, time, rates |
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
TABLE = "unexpected.parquet"
HOW = ("new", "late", "changed", "gone")

_EVENT = ["user", "item", "time"]
_THEN, _NOW = "value_then", "value_now"
_COLUMNS = ["what", *_EVENT, _THEN, _NOW]


def compare_data(before: Artifact, after: Artifact, store: ArtifactStore) -> Artifact:
    """Compare two artefacts of `ingest`; the summary has the counts.

    Ratings are `new` (later than all that was known), `late` (not later), `changed` (the same user,
    item and time with another rate) or `gone`; items and files are new, changed or gone.
    """
    key = {"before": before.id, "after": after.id, "code": code_version("data")}

    def build(folder: Path) -> Json:
        ratings = _Ratings.between(IngestedData(before), IngestedData(after))
        pq.write_table(ratings.unexpected(), folder / TABLE)
        return {
            "ratings": ratings.counts(),
            "items": _counts(_items(before), _items(after)),
            "files": _counts(before.key["files"], after.key["files"]),
        }

    return store.get(KIND, key, build)


@dataclass(frozen=True, slots=True)
class _Ratings:
    new: pa.Table
    late: pa.Table
    changed: pa.Table
    gone: pa.Table

    @classmethod
    def between(cls, before: IngestedData, after: IngestedData) -> Self:
        then, now = (_all_ratings(ratings) for ratings in (before, after))
        everything = [*_EVENT, "value"]
        lost = then.join(now, everything, join_type="left anti")
        found = now.join(then, everything, join_type="left anti")
        changed = _with(_THEN, lost).join(_with(_NOW, found), _EVENT, join_type="inner")
        found = found.join(changed, _EVENT, join_type="left anti")
        late = pc.less_equal(found["time"], before.last_time)
        gone = lost.join(changed, _EVENT, join_type="left anti")
        return cls(found.filter(pc.invert(late)), found.filter(late), changed, gone)

    def counts(self) -> dict[str, int]:
        return {name: len(getattr(self, name)) for name in self.__slots__}

    def unexpected(self) -> pa.Table:
        told = {
            "late": _with(_NOW, self.late),
            "changed": self.changed,
            "gone": _with(_THEN, self.gone),
        }
        parts = []
        for what, table in told.items():
            columns = {"what": pa.repeat(what, len(table))} | {
                name: table[name] if name in table.column_names else pa.nulls(len(table), pa.int8())
                for name in _COLUMNS[1:]
            }
            parts.append(pa.table(columns))
        return pa.concat_tables(parts).sort_by([(name, "ascending") for name in _COLUMNS])


def _all_ratings(ratings: IngestedData) -> pa.Table:
    """Each different (user, item, time, rate), superseded ones too, shape (n,)."""
    names = [*_EVENT, "value"]
    paths = (ratings.artifact.path / f"{name}.parquet" for name in ("ratings", "superseded"))
    both = pa.concat_tables(pq.read_table(path, columns=names) for path in paths)
    return both.group_by(names).aggregate([]).select(names)


def _with(value: str, table: pa.Table) -> pa.Table:
    return table.select([*_EVENT, "value"]).rename_columns([*_EVENT, value])


def _items(artifact: Artifact) -> dict[int, Any]:
    return {item["item"]: item for item in IngestedData(artifact).items().to_pylist()}


def _counts(then: Mapping[Any, Any], now: Mapping[Any, Any]) -> dict[str, int]:
    return {
        "new": len(now.keys() - then.keys()),
        "changed": sum(now[key] != then[key] for key in now.keys() & then.keys()),
        "gone": len(then.keys() - now.keys()),
    }
