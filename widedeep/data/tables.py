"""Ratings: the checked data set, as the later stages see it.

The tables of items and people: what is known besides the ratings.

Records of arrays as Parquet: a column for each attribute.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.files import CASTINGS, COUNTRIES, GENRES, ITEMS, PEOPLES, RATES
from widedeep.store import Artifact

ITEM_COLUMNS = pa.schema(
    {
        "item": pa.int64(),
        "title": pa.string(),
        "title_eng": pa.string(),
        "release_year": pa.int16(),
        "original_year": pa.int16(),
        "grade": pa.string(),
        "genres": pa.list_(pa.string()),
        "countries": pa.list_(pa.string()),
        "people": pa.list_(pa.int64()),
        "leading": pa.list_(pa.int64()),
    }
)
"""Sorted by item. Years, where unknown, and `grade`, where absent, are null; lists are empty.

`release_year` is the file's `year`: the year of the last release in Korea. It leaks the future
(37 % of KMRD-small's ratings are older than it), so it is for display, not for features.
`original_year` stands at the end of `title_eng`, behind a comma ("Cinema Paradiso , 1988") or alone
("1961"); "Blade Runner 2049" names no year.
`people` and `leading` (the leading roles among them) stand in the order of billing, each once."""

PEOPLE_COLUMNS = pa.schema({"people": pa.int64(), "korean": pa.string(), "original": pa.string()})

_BILLING = ("order", "line")
_ORIGINAL_YEAR = r"(?:^|,)\s*(?P<year>(?:18|19|20)[0-9]{2})\s*$"
_RELEASE_YEAR = r"^(?P<year>[0-9]{4})(?:\.0)?$"


def item_table(files: Mapping[str, pa.Table]) -> pa.Table:
    """Make `ITEM_COLUMNS` from the good rows of each file by its name.

    Optional files may be absent. The rows have a column `line`, as `schema.judge` gives them.
    """
    items = files[ITEMS.name].sort_by("movie")
    castings = files.get(CASTINGS.name)
    leads = castings.filter(pc.equal(castings["leading"], 1)) if castings else None
    ids = items["movie"].to_numpy()
    columns = {
        "item": items["movie"],
        "title": items["title"],
        "title_eng": items["title_eng"],
        "release_year": _year(items["year"], _RELEASE_YEAR),
        "original_year": _year(items["title_eng"], _ORIGINAL_YEAR),
        "grade": pc.if_else(pc.equal(items["grade"], ""), None, items["grade"]),
        "genres": _lists(files.get(GENRES.name), "genre", ("line",), ids),
        "countries": _lists(files.get(COUNTRIES.name), "country", ("line",), ids),
        "people": _lists(castings, "people", _BILLING, ids),
        "leading": _lists(leads, "people", _BILLING, ids),
    }
    return pa.table(columns, schema=ITEM_COLUMNS)


def people_table(files: Mapping[str, pa.Table]) -> pa.Table:
    """Make `PEOPLE_COLUMNS`, sorted by `people`; empty where peoples.txt is absent."""
    if PEOPLES.name not in files:
        return PEOPLE_COLUMNS.empty_table()
    return files[PEOPLES.name].select(PEOPLE_COLUMNS.names).sort_by("people")


def _year(text: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """int16 (n,), null where there is no year to be read."""
    return pc.struct_field(pc.extract_regex(text, pattern), "year").cast(pa.int16())


def _lists(
    table: pa.Table | None, column: str, order: tuple[str, ...], items: NDArray[np.int64]
) -> pa.Array:
    """The values of `column` for each item, each value once; `table` has no other items."""
    if table is None:
        return pa.array([[]] * len(items))
    rows = table.sort_by([(name, "ascending") for name in ("movie", *order)])
    rows = rows.select(["movie", column]).to_pandas().drop_duplicates()
    offsets = np.append(rows["movie"].searchsorted(items), len(rows)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(rows[column]))


def save_columns(record: Any, path: Path) -> None:  # noqa: ANN401  a dataclass with slots
    """Write one Parquet file; every attribute of `record` is an array (n,)."""
    pq.write_table(pa.table({name: getattr(record, name) for name in record.__slots__}), path)


def read_small(path: Path) -> pa.Table:
    """A small Parquet file, without a data set around it and without threads to wait for."""
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Rows of all rating files: read = examples + superseded + quarantined."""

    read: int
    examples: int
    superseded: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class Interactions:
    """Examples: each (user, item) once, at its first rating; sorted by time, user and item.

    Attributes:
        user: int64 (n,), a token, not a number: it leaks the user's future activity.
        item: int64 (n,), a token.
        rate: int8 (n,), 1 to 10.
        time: int64 (n,), UNIX seconds.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.int8]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.time)

    def select_rows(self, rows: NDArray[Any] | slice) -> "Interactions":
        """The named rows, as indexing an array names them."""
        return Interactions(*(getattr(self, name)[rows] for name in self.__slots__))

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each attribute."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path, rows: ds.Expression | None = None) -> Self:
        """Read what `save` or ingest wrote; only the `rows` for which the expression holds."""
        table = pq.read_table(path, columns=list(cls.__slots__), filters=rows)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))


def first_times(tokens: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row, when its token stands in `time` (ascending) for the first time, shape (n,)."""
    _, first, inverse = np.unique(tokens, return_index=True, return_inverse=True)
    return time[first][inverse]


@dataclass(frozen=True, slots=True)
class IngestedData:
    """A handle on the artefact that `ingest` made; nothing is read before it is asked for."""

    artifact: Artifact

    @property
    def last_time(self) -> int:
        """UNIX seconds of the last rating, superseded ones included."""
        return int(self.artifact.summary["last_time"])

    def load(self, until: int | None = None) -> Interactions:
        """Read the examples before `until` (UNIX seconds; None: all of them)."""
        filters = None if until is None else ds.field("time") < until
        return Interactions.load(self._path("ratings"), filters)

    def items(self) -> pa.Table:
        """Read what is known of each item of movies.txt, see `items.ITEM_COLUMNS`."""
        return pq.read_table(self._path("items"))

    def people(self) -> pa.Table:
        """Read the names of people, see `items.PEOPLE_COLUMNS`."""
        return pq.read_table(self._path("people"))

    def counts(self, as_of: int) -> RowCounts:
        """What was known strictly before `as_of` (UNIX seconds).

        A quarantined row whose time can't be read or believed counts as known at any moment.
        """
        earlier = ds.field("time") < as_of
        known = pc.starts_with(ds.field("file"), RATES.stem) & (
            ds.field("time").is_null() | earlier
        )
        examples = self._count("ratings", earlier)
        superseded = self._count("superseded", earlier)
        quarantined = self._count("quarantine", known)
        return RowCounts(examples + superseded + quarantined, examples, superseded, quarantined)

    def _path(self, name: str) -> Path:
        return self.artifact.path / f"{name}.parquet"

    def _count(self, name: str, rows: ds.Expression) -> int:
        return int(ds.dataset(self._path(name)).count_rows(filter=rows))
