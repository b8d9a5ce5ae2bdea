"""The checked data set as later stages see it: interactions as arrays, attributes as tables.

`IngestedData` reads what `ingest` wrote; `Interactions` are the examples. Users and items are int64
keys (see `ids`); `TextIds` turns a key into the id that stands in the data.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec
from widedeep.data.ids import Keys, TextIds
from widedeep.inputs import InputError
from widedeep.store import Artifact

MISSING = ""
"""The id of a category that is absent; a category of its own."""

CONTEXT = "context_"
"""Prefix of the columns of `ratings.parquet` that hold context."""

SPEC_JSON = "dataset.json"
"""The `DatasetSpec` of ingested data, and of a model's snapshot."""

INTERACTIONS_FILE, ITEMS_FILE, USERS_FILE, NAMES_FILE = (
    "ratings.parquet",
    "items.parquet",
    "users.parquet",
    "names.parquet",
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Categories:
    """A category by row: `codes` (int32, (n,)) are positions in the distinct `ids`, strings.

    It takes a fraction of the memory of strings, and each distinct id is looked up once.
    """

    codes: NDArray[np.int32]
    ids: NDArray[Any]

    @classmethod
    def from_texts(cls, column: pa.ChunkedArray) -> Self:
        """Read a column of text; null becomes `MISSING`."""
        encoded = column.cast(pa.string()).fill_null(MISSING).combine_chunks().dictionary_encode()
        ids = np.array(encoded.dictionary.to_pylist(), np.dtypes.StringDType())
        return cls(encoded.indices.to_numpy().astype(np.int32), ids)

    @classmethod
    def repeated(cls, identity: str, rows: int) -> Self:
        """Return a number of rows that all have one id."""
        ids = np.array([identity], np.dtypes.StringDType())
        return cls(np.zeros(rows, np.int32), ids)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.codes)

    def __getitem__(self, rows: NDArray[Any] | slice) -> "Categories":
        """Return the rows at positions, a mask or a slice."""
        return Categories(self.codes[rows], self.ids)

    def to_texts(self) -> pa.DictionaryArray:
        """Return the rows as an Arrow dictionary array of text."""
        texts = pa.array(self.ids.tolist(), pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(self.codes), texts)


ContextColumn: TypeAlias = Categories | Floats
"""A context feature by row: a category, or a number (NaN where missing)."""

Context: TypeAlias = Mapping[str, ContextColumn]
"""Context features by name; one that is absent is missing in every row."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """Examples, sorted by time, user and item.

    Unless repeats are examples, too, each (user, item) stands here once, at its first interaction.

    Attributes:
        user: (n,) int64, a key; not a number to learn from.
        item: (n,) int64, a key.
        value: (n,) float32, the number that history averages.
        time: (n,) int64, UNIX seconds.
        label: (n,) bool, whether the interaction is positive.
        weight: (n,) float32, the weight in training; None: 1 for every row.
        sampled: (n,) bool, whether the row is a sampled negative, which history does not count;
            None: no row is.
        context: Context features of the rows.
    """

    user: Keys
    item: Keys
    value: NDArray[np.float32]
    time: Keys
    label: NDArray[np.bool_]
    weight: NDArray[np.float32] | None = None
    sampled: NDArray[np.bool_] | None = None
    context: Context = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.time)

    @classmethod
    def empty(cls) -> Self:
        """Return interactions without a single row."""
        keys, values = np.empty(0, np.int64), np.empty(0, np.float32)
        return cls(keys, keys, values, keys, np.empty(0, np.bool_))

    def select_rows(self, rows: NDArray[Any] | slice) -> "Interactions":
        """Return the examples at `rows`: positions (m,), a mask (n,), or a slice."""
        return Interactions(
            self.user[rows],
            self.item[rows],
            self.value[rows],
            self.time[rows],
            self.label[rows],
            None if self.weight is None else self.weight[rows],
            None if self.sampled is None else self.sampled[rows],
            {name: column[rows] for name, column in self.context.items()},
        )

    def observed(self) -> "Interactions":
        """Return the rows that really happened, without sampled negatives."""
        return self if self.sampled is None else self.select_rows(~self.sampled)

    def to_table(self) -> pa.Table:
        """Return a column for each attribute, and one for each context feature."""
        columns: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("user", "item", "value", "time", "label", "weight", "sampled")
            if getattr(self, name) is not None
        }
        return pa.table({**columns, **context_columns(self.context)})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Read what `to_table` returned."""
        optional = {
            name: table[name].to_numpy() if name in table.column_names else None
            for name in ("weight", "sampled")
        }
        context = read_context_columns(table)
        user, item, value, time, label = (
            table[name].to_numpy() for name in ("user", "item", "value", "time", "label")
        )
        return cls(user, item, value, time, label, optional["weight"], optional["sampled"], context)

    def save(self, path: Path) -> None:
        """Write one Parquet file, which `load` reads."""
        pq.write_table(self.to_table(), path)

    @classmethod
    def load(cls, path: Path, rows: ds.Expression | None = None) -> Self:
        """Read what `save` or `ingest` wrote; with `rows`, only where the expression holds.

        Raises:
            InputError: An earlier version wrote the file.
        """
        if "label" not in pq.read_schema(path).names:
            raise _from_earlier_version(path)
        return cls.from_table(pq.read_table(path, filters=rows))


def context_columns(context: Context, prefix: str = CONTEXT) -> dict[str, pa.Array]:
    """Return the columns, by name, in which a table keeps context features."""
    return {
        prefix + name: column.to_texts() if isinstance(column, Categories) else pa.array(column)
        for name, column in context.items()
    }


def read_context_columns(table: pa.Table) -> Context:
    """Return the context features in the columns that `context_columns` named."""
    return {
        name.removeprefix(CONTEXT): read_context(table[name])
        for name in table.column_names
        if name.startswith(CONTEXT)
    }


def read_context(column: pa.ChunkedArray) -> ContextColumn:
    """Return a context feature that stands in an Arrow table: numbers, or else categories."""
    if pa.types.is_floating(column.type):
        numbers: Floats = column.to_numpy().astype(np.float64)
        return numbers
    return Categories.from_texts(column)


def concatenate_context(parts: list[Context], lengths: list[int]) -> Context:
    """Join the context of several tables; a feature that a part lacks is missing in its rows."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _concatenate([part.get(name) for part in parts], lengths) for name in names}


def _concatenate(columns: list[ContextColumn | None], lengths: list[int]) -> ContextColumn:
    categorical = any(isinstance(column, Categories) for column in columns)
    if not categorical:
        return np.concatenate(
            [
                np.full(n, np.nan) if column is None else column
                for column, n in zip(columns, lengths, strict=True)
            ]
        )
    texts = [
        (column if isinstance(column, Categories) else Categories.repeated(MISSING, n)).to_texts()
        for column, n in zip(columns, lengths, strict=True)
    ]
    return Categories.from_texts(pa.chunked_array([text.cast(pa.string()) for text in texts]))


def _from_earlier_version(path: Path) -> InputError:
    return InputError(
        f"{path} was made by an earlier version of widedeep, which knew ratings only; retrain in a "
        "new workspace (--home DIR), and copy the old one's events folder to it to keep the "
        "ratings that users gave"
    )


def first_times(ids: Keys, time: Keys) -> Keys:
    """Return for each row the first time at which its id occurs, (n,).

    Args:
        ids: (n,) of users or items.
        time: (n,) UNIX seconds, ascending.
    """
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return time[first][inverse]


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Numbers of rows of all files of interactions: read = examples + superseded + quarantined."""

    read: int
    examples: int
    superseded: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class SideTables:
    """What is known of items and users beside the interactions, and what it means.

    Attributes:
        spec: The data set.
        items: One row an item: `item` (int64), `id` (string, null for an integer), `title_…`, and
            a column for each feature of items.
        users: One row for each user with attributes or a text id: `user`, `id`, and features.
        names: Names of the ids in bags: `table`, `key`, `id`, `title_…`.
    """

    spec: DatasetSpec
    items: pa.Table
    users: pa.Table
    names: pa.Table

    def save(self, folder: Path) -> None:
        """Write Parquet files and the spec into `folder`, which exists."""
        pq.write_table(self.items, folder / ITEMS_FILE)
        pq.write_table(self.users, folder / USERS_FILE)
        pq.write_table(self.names, folder / NAMES_FILE)
        text = json.dumps(self.spec.as_json(), ensure_ascii=False, indent=1)
        (folder / SPEC_JSON).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: An earlier version wrote the folder.
        """
        if not (folder / SPEC_JSON).exists():
            raise _from_earlier_version(folder)
        spec = DatasetSpec.from_json(json.loads((folder / SPEC_JSON).read_text(encoding="utf-8")))
        tables = (read_small(folder / name) for name in (ITEMS_FILE, USERS_FILE, NAMES_FILE))
        return cls(spec, *tables)

    @property
    def item_ids(self) -> TextIds:
        """The ids of items that are not integers."""
        return _text_ids(self.items, "item")

    @property
    def user_ids(self) -> TextIds:
        """The ids of users that are not integers."""
        return _text_ids(self.users, "user")


def _text_ids(table: pa.Table, key: str) -> TextIds:
    with_text = table.filter(pc.is_valid(table["id"]))
    return TextIds.from_table(with_text[key].to_numpy(), with_text["id"].to_pylist())


@dataclass(frozen=True, slots=True)
class IngestedData:
    """A handle on the artefact that `ingest` made; each method reads from the disk.

    Raises:
        InputError: The artefact was made by a version whose tables this one cannot read.
    """

    artifact: Artifact

    def __post_init__(self) -> None:
        """Check that the artefact has the tables of this version; see the class."""
        if not (self.artifact.path / SPEC_JSON).exists():
            raise _from_earlier_version(self.artifact.path)

    @property
    def last_time(self) -> int:
        """UNIX seconds of the last interaction, superseded ones included."""
        return int(self.artifact.summary["last_time"])

    def interactions(self, until: int | None = None) -> Interactions:
        """Read the examples before `until` (UNIX seconds; None: all of them)."""
        rows = None if until is None else ds.field("time") < until
        return Interactions.load(self.artifact.path / INTERACTIONS_FILE, rows)

    def side_tables(self) -> SideTables:
        """Read the tables of items, users and names."""
        return SideTables.load(self.artifact.path)

    def counts(self, as_of: int) -> RowCounts:
        """Count the rows that were known strictly before `as_of` (UNIX seconds).

        A quarantined row without a credible time counts as known at any moment.
        """
        earlier = ds.field("time") < as_of
        files = pa.array(self.artifact.summary["interaction_files"], pa.string())
        quarantined_earlier = ds.field("file").isin(files) & (ds.field("time").is_null() | earlier)
        observed = earlier
        if "sampled" in pq.read_schema(self.artifact.path / INTERACTIONS_FILE).names:
            observed = earlier & ~ds.field("sampled")
        examples = self._count("ratings", observed)
        superseded = self._count("superseded", earlier)
        quarantined = self._count("quarantine", quarantined_earlier)
        return RowCounts(examples + superseded + quarantined, examples, superseded, quarantined)

    def _count(self, name: str, rows: ds.Expression) -> int:
        return int(ds.dataset(self.artifact.path / f"{name}.parquet").count_rows(filter=rows))


def read_small(path: Path) -> pa.Table:
    """Read a small Parquet file directly: without a data set around it and without threads."""
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)
