"""The checked data set as later stages see it: interactions as arrays, items and people as tables.

`IngestedData` reads what `ingest` wrote; `Interactions` are the examples. `item_table` and
`people_table` make the tables of items and people from the checked rows of KMRD's files.
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
from widedeep.inputs import InputError
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
"""The table of items, sorted by item. Unknown years and an absent `grade` are null; lists may be
empty.

`release_year` is the file's `year`: the year of the last release in Korea. It leaks the future
(37 % of KMRD-small's ratings are older than it), so it is for display, not for features.
`original_year` stands at the end of `title_eng`, after a comma ("Cinema Paradiso , 1988") or alone
("1961"); "Blade Runner 2049" names no year.
`people` and `leading` (the leading roles among them) are in the order of billing, each once."""

PEOPLE_COLUMNS = pa.schema({"people": pa.int64(), "korean": pa.string(), "original": pa.string()})
"""The table of people, sorted by `people` (a person's id), with their names."""

_BILLING = ("order", "line")
_ORIGINAL_YEAR = r"(?:^|,)\s*(?P<year>(?:18|19|20)[0-9]{2})\s*$"
_RELEASE_YEAR = r"^(?P<year>[0-9]{4})(?:\.0)?$"


@dataclass(frozen=True, slots=True)
class Interactions:
    """Examples: each (user, item) once, at its first rating; sorted by time, user and item.

    Attributes:
        user: (n,) int64, an id; not a number to learn from, as it leaks the user's future activity.
        item: (n,) int64, an id.
        value: (n,) int8, the rating from 1 to 10.
        time: (n,) int64, UNIX seconds.
    """

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    value: NDArray[np.int8]
    time: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.time)

    def select_rows(self, rows: NDArray[Any] | slice) -> "Interactions":
        """Return the examples at `rows`: positions (m,), a mask (n,), or a slice."""
        return Interactions(*(getattr(self, name)[rows] for name in self.__slots__))

    def save(self, path: Path) -> None:
        """Write one Parquet file with a column for each attribute."""
        save_columns(self, path)

    @classmethod
    def load(cls, path: Path, rows: ds.Expression | None = None) -> Self:
        """Read what `save` or `ingest` wrote; with `rows`, only where the expression holds.

        Raises:
            InputError: An earlier version wrote the file.
        """
        if "item" not in pq.read_schema(path).names:
            raise _from_earlier_version(path)
        table = pq.read_table(path, columns=list(cls.__slots__), filters=rows)
        return cls(*(table[name].to_numpy() for name in cls.__slots__))


def _from_earlier_version(path: Path) -> InputError:
    return InputError(
        f"{path} was made by an earlier version of widedeep, which called items movies; retrain in "
        "a new workspace (--home DIR), and copy the old one's events folder to it to keep the "
        "ratings that users gave"
    )


def first_times(ids: NDArray[np.int64], time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each row the first time at which its id occurs, (n,).

    Args:
        ids: (n,) of users or items.
        time: (n,) UNIX seconds, ascending.
    """
    _, first, inverse = np.unique(ids, return_index=True, return_inverse=True)
    return time[first][inverse]


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Numbers of rows of all rating files: read = examples + superseded + quarantined."""

    read: int
    examples: int
    superseded: int
    quarantined: int


@dataclass(frozen=True, slots=True)
class IngestedData:
    """A handle on the artefact that `ingest` made; each method reads from the disk.

    Raises:
        InputError: The artefact was made by a version whose tables this one cannot read.
    """

    artifact: Artifact

    def __post_init__(self) -> None:
        """Check that the artefact has the tables of this version; see the class."""
        if not self._path("items").exists():
            raise _from_earlier_version(self.artifact.path)

    @property
    def last_time(self) -> int:
        """UNIX seconds of the last rating, superseded ones included."""
        return int(self.artifact.summary["last_time"])

    def interactions(self, until: int | None = None) -> Interactions:
        """Read the examples before `until` (UNIX seconds; None: all of them)."""
        rows = None if until is None else ds.field("time") < until
        return Interactions.load(self._path("ratings"), rows)

    def items(self) -> pa.Table:
        """Read the items of movies.txt, with the columns of `ITEM_COLUMNS`."""
        return pq.read_table(self._path("items"))

    def people(self) -> pa.Table:
        """Read the names of people, with the columns of `PEOPLE_COLUMNS`."""
        return pq.read_table(self._path("people"))

    def counts(self, as_of: int) -> RowCounts:
        """Count the rows that were known strictly before `as_of` (UNIX seconds).

        A quarantined row without a credible time counts as known at any moment.
        """
        earlier = ds.field("time") < as_of
        quarantined_earlier = pc.starts_with(ds.field("file"), RATES.stem) & (
            ds.field("time").is_null() | earlier
        )
        examples = self._count("ratings", earlier)
        superseded = self._count("superseded", earlier)
        quarantined = self._count("quarantine", quarantined_earlier)
        return RowCounts(examples + superseded + quarantined, examples, superseded, quarantined)

    def _path(self, name: str) -> Path:
        return self.artifact.path / f"{name}.parquet"

    def _count(self, name: str, rows: ds.Expression) -> int:
        return int(ds.dataset(self._path(name)).count_rows(filter=rows))


def item_table(files: Mapping[str, pa.Table]) -> pa.Table:
    """Return the table of items, with the columns of `ITEM_COLUMNS`.

    Args:
        files: The good rows of each file by its name, with their `line` and with internal names
            (`item`, not `movie`). Optional files may be absent.
    """
    items = files[ITEMS.name].sort_by("item")
    castings = files.get(CASTINGS.name)
    leads = castings.filter(pc.equal(castings["leading"], 1)) if castings else None
    ids = items["item"].to_numpy()
    columns = {
        "item": items["item"],
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
    """Return the table of people, `PEOPLE_COLUMNS`; it is empty if peoples.txt is absent."""
    if PEOPLES.name not in files:
        return PEOPLE_COLUMNS.empty_table()
    return files[PEOPLES.name].select(PEOPLE_COLUMNS.names).sort_by("people")


def _year(text: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """Return the year that `pattern` finds, (n,) int16, null where there is none."""
    return pc.struct_field(pc.extract_regex(text, pattern), "year").cast(pa.int16())


def _lists(
    table: pa.Table | None, column: str, order: tuple[str, ...], items: NDArray[np.int64]
) -> pa.Array:
    """Return for each of `items`, (n,) ascending, its distinct values of `column` as a list.

    `table` has a row for each item and value, and only items of `items`.
    """
    if table is None:
        return pa.array([[]] * len(items))
    rows = table.sort_by([(name, "ascending") for name in ("item", *order)])
    rows = rows.select(["item", column]).to_pandas().drop_duplicates()
    offsets = np.append(rows["item"].searchsorted(items), len(rows)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(rows[column]))


def save_columns(record: Any, path: Path) -> None:  # noqa: ANN401  a dataclass with slots
    """Write one Parquet file with a column for each attribute of `record`, all arrays (n,)."""
    pq.write_table(pa.table({name: getattr(record, name) for name in record.__slots__}), path)


def read_small(path: Path) -> pa.Table:
    """Read a small Parquet file directly: without a data set around it and without threads."""
    with pq.ParquetFile(path) as file:
        return file.read(use_threads=False)
