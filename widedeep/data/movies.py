"""The tables of movies and people: what is known besides the ratings."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.kmrd import CASTINGS, COUNTRIES, GENRES, MOVIES, PEOPLES

MOVIE_COLUMNS = pa.schema(
    {
        "movie": pa.int64(),
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
"""Sorted by movie. Years, where unknown, and `grade`, where absent, are null; lists are empty.

`release_year` is the file's `year`: the year of the last release in Korea. It leaks the future
(37 % of KMRD-small's ratings are older than it), so it is for display, not for features.
`original_year` stands at the end of `title_eng`, behind a comma ("Cinema Paradiso , 1988") or alone
("1961"); "Blade Runner 2049" names no year.
`people` and `leading` (the leading roles among them) stand in the order of billing, each once."""

PEOPLE_COLUMNS = pa.schema({"people": pa.int64(), "korean": pa.string(), "original": pa.string()})

_BILLING = ("order", "line")
_ORIGINAL_YEAR = r"(?:^|,)\s*(?P<year>(?:18|19|20)[0-9]{2})\s*$"
_RELEASE_YEAR = r"^(?P<year>[0-9]{4})(?:\.0)?$"


def movie_table(files: Mapping[str, pa.Table]) -> pa.Table:
    """Make `MOVIE_COLUMNS` from the good rows of each file by its name.

    Optional files may be absent. The rows have a column `line`, as `schema.judge` gives them.
    """
    movies = files[MOVIES.name].sort_by("movie")
    castings = files.get(CASTINGS.name)
    leads = castings.filter(pc.equal(castings["leading"], 1)) if castings else None
    ids = movies["movie"].to_numpy()
    columns = {
        "movie": movies["movie"],
        "title": movies["title"],
        "title_eng": movies["title_eng"],
        "release_year": _year(movies["year"], _RELEASE_YEAR),
        "original_year": _year(movies["title_eng"], _ORIGINAL_YEAR),
        "grade": pc.if_else(pc.equal(movies["grade"], ""), None, movies["grade"]),
        "genres": _lists(files.get(GENRES.name), "genre", ("line",), ids),
        "countries": _lists(files.get(COUNTRIES.name), "country", ("line",), ids),
        "people": _lists(castings, "people", _BILLING, ids),
        "leading": _lists(leads, "people", _BILLING, ids),
    }
    return pa.table(columns, schema=MOVIE_COLUMNS)


def people_table(files: Mapping[str, pa.Table]) -> pa.Table:
    """Make `PEOPLE_COLUMNS`, sorted by `people`; empty where peoples.txt is absent."""
    if PEOPLES.name not in files:
        return PEOPLE_COLUMNS.empty_table()
    return files[PEOPLES.name].select(PEOPLE_COLUMNS.names).sort_by("people")


def _year(text: pa.ChunkedArray, pattern: str) -> pa.ChunkedArray:
    """int16 (n,), null where there is no year to be read."""
    return pc.struct_field(pc.extract_regex(text, pattern), "year").cast(pa.int16())


def _lists(
    table: pa.Table | None, column: str, order: tuple[str, ...], movies: NDArray[np.int64]
) -> pa.Array:
    """The values of `column` for each movie, each value once; `table` has no other movies."""
    if table is None:
        return pa.array([[]] * len(movies))
    rows = table.sort_by([(name, "ascending") for name in ("movie", *order)])
    rows = rows.select(["movie", column]).to_pandas().drop_duplicates()
    offsets = np.append(rows["movie"].searchsorted(movies), len(rows)).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(rows[column]))
