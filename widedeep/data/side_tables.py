"""The tables of items, users and names, built from the checked rows of a data set's files.

An item or a user has one row: its attributes from its own table, the values of its bags from extra
tables, and attributes that stand in the interactions, of which the first one in time is taken, so
that none tells the future.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from widedeep.data.dataset import DatasetSpec, Feature, FeatureType, Side
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.files import DataFile, read_all
from widedeep.data.ids import FIRST_TEXT_KEY, Keys, TextIds, id_keys
from widedeep.data.tables import SideTables
from widedeep.data.validation import AttributeRules, InteractionRules
from widedeep.inputs import InputError

_ARROW_TYPES = {
    FeatureType.CATEGORY: pa.string(),
    FeatureType.NUMBER: pa.float64(),
    FeatureType.AGE: pa.float64(),
}


@dataclass(frozen=True, slots=True)
class AttributeRows:
    """The checked rows of all tables but the interactions.

    Attributes:
        good: By table, see `validation.AttributeRules`.
        bad: Quarantined rows.
        texts: Ids that are not integers, of all tables: `key`, `id`.
    """

    good: Mapping[str, pa.Table]
    bad: Sequence[pa.Table]
    texts: pa.Table

    @property
    def item_keys(self) -> Keys:
        """The keys in the table of items, (m,)."""
        keys: Keys = self.good["items"]["key"].to_numpy()
        return keys

    def interaction_rules(self, spec: DatasetSpec, now: int, unit: TimeUnit) -> InteractionRules:
        """Return the rules of interactions beside these tables; see `InteractionRules`."""
        items = spec.items
        known = self.item_keys if items is not None and items.complete else None
        file = ", ".join(items.files) if items is not None else ""
        return InteractionRules(spec, known, file, now, unit)


def check_side_files(spec: DatasetSpec, files: Mapping[str, Sequence[DataFile]]) -> AttributeRows:
    """Check the rows of all tables but the interactions.

    Raises:
        InputError: A table of items or users has no good row.
    """
    good: dict[str, pa.Table] = {}
    bad: list[pa.Table] = []
    texts = [pa.table({"key": pa.array([], pa.int64()), "id": pa.array([], pa.string())})]
    for name in ("items", "users", *spec.tables):
        if not files.get(name):
            continue
        checks = [_rules(spec, name, good).check(file, read_all(file)) for file in files[name]]
        good[name] = pa.concat_tables([check.good for check in checks])
        bad += [check.bad for check in checks]
        texts += [check.texts for check in checks]
        if not len(good[name]) and name in {"items", "users"}:
            rows = pa.concat_tables(bad).slice(0, 3).to_pylist()
            shown = ", ".join(f"line {row['line']} ({row['reason']})" for row in rows)
            raise InputError(f"{files[name][0].path} has no good row: {shown}")
        _refuse_repeated_ids(spec, name, good[name], files[name])
    return AttributeRows(good, bad, pa.concat_tables(texts))


def _rules(spec: DatasetSpec, name: str, good: Mapping[str, pa.Table]) -> AttributeRules:
    extra = spec.tables.get(name)
    if extra is None or extra.of is None:
        return AttributeRules(spec, name)
    owner = spec.items if extra.of == "items" else spec.users
    known = good[extra.of]["key"].to_numpy() if owner is not None and owner.complete else None
    known_file = ", ".join(owner.files) if owner is not None else ""
    return AttributeRules(spec, name, unique=False, known=known, known_file=known_file)


def _refuse_repeated_ids(
    spec: DatasetSpec, name: str, table: pa.Table, files: Sequence[DataFile]
) -> None:
    """Raise InputError if two files of a table have a row for the same id."""
    extra = spec.tables.get(name)
    if len(files) < 2 or (extra is not None and extra.of is not None):  # noqa: PLR2004
        return
    keys = table["key"].to_numpy()
    if len(np.unique(keys)) < len(keys):
        names = " and ".join(file.path.name for file in files)
        raise InputError(f"[{name}]: {names} have rows for the same id; expected one row an id")


def build_side_tables(
    spec: DatasetSpec, side: AttributeRows, interactions: pa.Table, texts: pa.Table
) -> SideTables:
    """Return the tables of items, users and names.

    Args:
        spec: The data set.
        side: The checked rows of the other tables.
        interactions: The good rows of interactions: user, item, time, and features.
        texts: Ids in the interactions that are not integers.
    """
    ids = _all_texts([side.texts, texts])
    order = np.argsort(interactions["time"].to_numpy(), kind="stable")
    in_time = interactions.take(pa.array(order))
    return SideTables(
        spec,
        _entity_table(spec, Side.ITEM, side, in_time, ids),
        _entity_table(spec, Side.USER, side, in_time, ids),
        _names_table(spec, side, ids),
    )


def _all_texts(parts: Sequence[pa.Table]) -> TextIds:
    table = pa.concat_tables(parts).group_by(["key", "id"]).aggregate([])
    return TextIds.from_table(table["key"].to_numpy(), table["id"].to_pylist())


def _entity_table(
    spec: DatasetSpec, side: Side, rows: AttributeRows, in_time: pa.Table, ids: TextIds
) -> pa.Table:
    """Return the table of items or of users, sorted by key."""
    table_name = f"{side.value}s"
    table = rows.good.get(table_name)
    features = spec.features_of(side)
    keys = _entity_keys(side, table, in_time, features)
    columns: dict[str, Any] = {
        side.value: keys,
        "id": pa.array([ids.texts.get(key) for key in keys.tolist()], pa.string())
        if len(keys) and keys[-1] >= FIRST_TEXT_KEY
        else pa.nulls(len(keys), pa.string()),
    }
    if table is not None:
        at = _positions(table["key"].to_numpy(), keys)
        for name in table.column_names:
            if name.startswith(("title_", "also_")):
                columns[name] = table[name].take(at)
    for feature in features:
        columns[feature.name] = _feature_values(spec, feature, rows, in_time, keys)
    return pa.table(columns)


def _entity_keys(
    side: Side, table: pa.Table | None, in_time: pa.Table, features: Sequence[Feature]
) -> Keys:
    """Return the keys that get a row, ascending.

    These are all items; and of users those of the table, those with a text id, and all of them if
    an attribute stands in the interactions.
    """
    own = table["key"].to_numpy() if table is not None else np.empty(0, np.int64)
    met = np.unique(in_time[side.value].to_numpy())
    if side is Side.USER and not any(feature.table == "interactions" for feature in features):
        met = met[met >= FIRST_TEXT_KEY]
    keys: Keys = np.union1d(own, met).astype(np.int64)
    return keys


def _feature_values(
    spec: DatasetSpec, feature: Feature, rows: AttributeRows, in_time: pa.Table, keys: Keys
) -> pa.Array | pa.ChunkedArray:
    """Return a feature of `keys`, (n,), null (a bag: empty) where it is missing."""
    if feature.table == "interactions":
        side = feature.side.value
        present = in_time.filter(pc.is_valid(in_time[feature.name]))
        first, positions = np.unique(present[side].to_numpy(), return_index=True)
        values = present[feature.name].take(pa.array(positions))
        return _finished(feature, values.take(_positions(first, keys)))
    if feature.table not in rows.good:
        return _finished(feature, pa.nulls(len(keys), _arrow_type(feature)))
    table = rows.good[feature.table]
    if feature.table in spec.tables:
        return _finished(feature, _lists(feature, table, keys))
    return _finished(feature, table[feature.name].take(_positions(table["key"].to_numpy(), keys)))


def _arrow_type(feature: Feature) -> pa.DataType:
    return _ARROW_TYPES.get(feature.type, pa.list_(pa.string()))


def _positions(known: Keys, keys: Keys) -> pa.Array:
    """Return where each key stands in `known`, (n,) int64, null where it does not."""
    at = pd.Index(known).get_indexer(pd.Index(keys))
    return pa.array(at.astype(np.int64), mask=at < 0)


def _lists(feature: Feature, table: pa.Table, keys: Keys) -> pa.Array:
    """Return for each key its distinct values, in the order that the feature asks for."""
    own = table.filter(pc.is_valid(table[feature.name]))
    order = [f"{feature.name} order"] if feature.order_by is not None else []
    sorting = [(name, "ascending") for name in ("key", *order, "line")]
    values = own.sort_by(sorting).select(["key", feature.name]).to_pandas().drop_duplicates()
    values = values[np.isin(values["key"], keys)]
    offsets = np.append(values["key"].searchsorted(keys), len(values)).astype(np.int32)
    texts = pa.array(values[feature.name].tolist(), pa.string())
    return pa.ListArray.from_arrays(offsets, texts)


def _finished(feature: Feature, values: Any) -> Any:  # noqa: ANN401  an Arrow column
    """Return the column as it is stored: no null list, and keys where ids have names."""
    if feature.type is not FeatureType.BAG:
        return values
    lists = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    empty = pa.scalar([], pa.list_(pa.string()))
    lists = pc.if_else(pc.is_valid(lists), lists, empty) if lists.null_count else lists
    if feature.names is None:
        return lists
    keys = id_keys(pa.chunked_array([lists.flatten()]))
    lengths = pc.list_value_length(lists).to_numpy()
    offsets = np.cumsum(np.concatenate([[0], lengths])).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(keys))


def _names_table(spec: DatasetSpec, rows: AttributeRows, ids: TextIds) -> pa.Table:
    """Return the names of ids in bags: `table`, `key`, `id` and a title for each language."""
    languages = dict.fromkeys(
        f"title_{language}"
        for name, table in spec.tables.items()
        if table.of is None
        for language in table.title
    )
    parts = [_empty_names(languages)]
    for name, table in spec.tables.items():
        if table.of is not None or name not in rows.good:
            continue
        own = rows.good[name].sort_by("key")
        keys: Keys = own["key"].to_numpy()
        columns = {
            "table": pa.repeat(name, len(own)),
            "key": keys,
            "id": pa.array([ids.texts.get(key) for key in keys.tolist()], pa.string()),
        }
        for title in languages:
            has_title = title in own.column_names
            columns[title] = own[title] if has_title else pa.nulls(len(own), pa.string())
        parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def _empty_names(languages: Mapping[str, None]) -> pa.Table:
    kinds = {"table": pa.string(), "key": pa.int64(), "id": pa.string()}
    kinds |= dict.fromkeys(languages, pa.string())
    return pa.table({name: pa.array([], kind) for name, kind in kinds.items()})
