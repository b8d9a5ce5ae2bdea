"""Ingest: from KMRD's files to checked Parquet; each row of ratings ends in one of three tables.

The artefact (kind `ratings`) that `ingest` returns holds

| file | content |
|---|---|
| ratings.parquet | the examples: user, item, value, time of the first rating of each (user, item) |
| superseded.parquet | later ratings of the same pairs, with the reason |
| quarantine.parquet | rows of any file that cannot be used, see `validation.QUARANTINE` |
| items.parquet, people.parquet | see `tables.ITEM_COLUMNS` and `tables.PEOPLE_COLUMNS` |

The lines of a file are checked in batches, good ratings get internal column names and types, and
the ratings of all files are split into examples and superseded ones. A repeated rating is not an
example: on both sides of a split by time it would leak its label, and a conflicting one would
contradict it. Measured on KMRD-small: 6,379 of 140,710 ratings repeat a pair, 2,074 of them with
another rate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.feedback_log import FEEDBACK_FILE, open_feedback
from widedeep.data.files import (
    CASTINGS,
    COUNTRIES,
    FORMATS,
    GENRES,
    ITEMS,
    PEOPLES,
    RATES,
    DelimitedFile,
    files_of,
    open_folder,
    with_internal_names,
)
from widedeep.data.tables import item_table, people_table
from widedeep.data.validation import (
    IN_FUTURE,
    RowCheck,
    castings_schema,
    check_rows,
    items_schema,
    people_schema,
    rates_schema,
    reason_class,
    tags_schema,
)
from widedeep.inputs import InputError
from widedeep.store import Artifact, ArtifactStore, Json, code_version, file_digest

KIND = "ratings"
MAXIMUM_BAD_SHARE = 0.10
"""Share of a rating file's rows that may be bad; with more, the file is not what it seems."""

_EXAMPLES_SHOWN = 3
_RATING = pa.schema(
    {
        "user": pa.int64(),
        "item": pa.int64(),
        "value": pa.int8(),
        "time": pa.int64(),
        "line": pa.int64(),
        "part": pa.int16(),
    }
)
"""Good ratings of all files: `line` is the line in the file, `part` the number of the file."""

Positions = NDArray[np.int64]
RowChecker = Callable[[DelimitedFile, pd.Index, int], Iterator[RowCheck]]
"""Checks the rows of a file of ratings, some at a time and in order, given the ids of the known
items and the present moment (UNIX seconds), see `validation.rates_schema`."""


def check_locally(file: DelimitedFile, items: pd.Index, now: int) -> Iterator[RowCheck]:
    """Check the rows of a file of ratings in this process, one batch after another."""
    schema = rates_schema(items, now)
    for lines in file.lines():
        yield check_rows(file, lines, schema)


def ingest(
    folder: Path,
    store: ArtifactStore,
    now: int,
    events: Path | None = None,
    check: RowChecker = check_locally,
) -> Artifact:
    """Check the files in `folder` and store the tables, or find them already stored.

    Whether a rating lies in the future depends on the day, so an artefact in which some ratings
    are quarantined for that reason is made anew on another day (UTC). Any other artefact depends on
    the files and the code alone.

    Args:
        folder: Files in KMRD's form; only ratings and movies.txt are required.
        store: Where the artefact is stored.
        now: UNIX seconds; ratings of a later time are quarantined.
        events: A server's feedback log; it may be absent and may grow meanwhile.
        check: How the rows of ratings are checked.

    Raises:
        InputError: A file is not in KMRD's form, or more than `MAXIMUM_BAD_SHARE` of a file's
            ratings are bad; nothing has been written.
        OSError: The disk is full or failing; nothing has been stored.
    """
    files = _open_files(folder, events)
    key = {
        "files": {name: file_digest(file.path, file.size) for name, file in files.items()},
        "code": code_version("data"),
        "future_on": None,
    }
    today = key | {"future_on": datetime.fromtimestamp(now, UTC).date().isoformat()}
    artifact = store.find(KIND, key) or store.find(KIND, today)
    if artifact is not None:
        return artifact
    tables = _check_files(files, now, check)
    reasons = tables["quarantine"]["reason"]
    depends_on_day = pc.any(pc.match_substring(reasons, IN_FUTURE)).as_py()
    with store.draft(KIND) as draft:
        for name, table in tables.items():
            pq.write_table(table, draft.path / f"{name}.parquet")
        return draft.finish(today if depends_on_day else key, _summary(tables, files))


def _open_files(folder: Path, events: Path | None) -> Mapping[str, DelimitedFile]:
    files = open_folder(folder)
    feedback = open_feedback(events) if events else None
    if feedback is None:
        return files
    if feedback.path.name in files:
        raise InputError(
            f"{folder} has a file {feedback.path.name}, which is the name of a server's feedback "
            "log; give it another name"
        )
    return {**files, feedback.path.name: feedback}


def _check_files(
    files: Mapping[str, DelimitedFile], now: int, check: RowChecker
) -> dict[str, pa.Table]:
    """Return the artefact's tables by name."""
    items = _check_items(files[ITEMS.name])
    ids = pd.Index(items.good["movie"].to_numpy())
    parts = files_of(files, RATES)
    ratings = [
        _check_ratings(part, number, check(part, ids, now)) for number, part in enumerate(parts)
    ]
    schemas = {
        GENRES.name: tags_schema(ids, "genre"),
        COUNTRIES.name: tags_schema(ids, "country"),
        CASTINGS.name: castings_schema(ids),
        PEOPLES.name: people_schema(),
    }
    others = {ITEMS.name: items} | {
        name: check_rows(files[name], files[name].all_lines(), schema)
        for name, schema in schemas.items()
        if name in files
    }
    good = {name: with_internal_names(rows.good) for name, rows in others.items()}
    examples, superseded = split_repeats(
        pa.concat_tables(part.good for part in ratings), [part.path.name for part in parts]
    )
    return {
        "ratings": examples,
        "superseded": superseded,
        "quarantine": pa.concat_tables(rows.bad for rows in (*ratings, *others.values())),
        "items": item_table(good),
        "people": people_table(good),
    }


def _check_items(file: DelimitedFile) -> RowCheck:
    items = check_rows(file, file.all_lines(), items_schema())
    if not len(items.good):
        raise InputError(f"{file.path} has no good row: {_show_examples(items.bad)}")
    return items


def _check_ratings(file: DelimitedFile, part: int, checks: Iterator[RowCheck]) -> RowCheck:
    """Return a file's ratings, the good ones with the columns of `_RATING`.

    A feedback log may have any number of bad rows: its form is certain, and one item that is
    withdrawn makes all of its ratings bad.
    """
    rows = file.count_rows()
    limit = inf if file.path.name == FEEDBACK_FILE else MAXIMUM_BAD_SHARE * rows
    good, bad, bad_rows = [], [], 0
    for check in checks:
        numbered = check.good.append_column("part", pa.repeat(part, len(check.good)))
        good.append(with_internal_names(numbered).select(_RATING.names).cast(_RATING))
        bad.append(check.bad)
        bad_rows += len(check.bad)
        if bad_rows > limit:
            raise InputError(
                f"{file.path}: more than {MAXIMUM_BAD_SHARE:.0%} of its {rows:,} rows "
                f"are bad, for example {_show_examples(pa.concat_tables(bad))}"
            )
    return RowCheck(pa.concat_tables(good), pa.concat_tables(bad))


def _show_examples(bad: pa.Table) -> str:
    first = bad.slice(0, _EXAMPLES_SHOWN).to_pylist()
    return ", ".join(f"line {row['line']} ({row['reason']})" for row in first)


def _summary(tables: Mapping[str, pa.Table], files: Mapping[str, DelimitedFile]) -> Json:
    examples, superseded, quarantine = (
        tables[name] for name in ("ratings", "superseded", "quarantine")
    )
    quarantined = pc.sum(pc.starts_with(quarantine["file"], RATES.stem)).as_py() or 0
    times = pc.min_max(pa.chunked_array([*examples["time"].chunks, *superseded["time"].chunks]))
    classes = pc.value_counts(reason_class(quarantine["reason"])).to_pylist()
    return {
        "counts": {
            "read": len(examples) + len(superseded) + quarantined,
            "examples": len(examples),
            "superseded": len(superseded),
            "quarantined": quarantined,
        },
        "quarantined_by_reason": {row["values"]: row["counts"] for row in classes},
        "users": pc.count_distinct(examples["user"]).as_py(),
        "items": pc.count_distinct(examples["item"]).as_py(),
        "first_time": times["min"].as_py(),
        "last_time": times["max"].as_py(),
        "absent": [file_format.name for file_format in FORMATS if not files_of(files, file_format)],
    }


def split_repeats(ratings: pa.Table, files: Sequence[str]) -> tuple[pa.Table, pa.Table]:
    """Split ratings into the first one of each (user, item) and the later ones.

    Of several ratings of a pair at the same time, the one on the first line of the first file is
    the first; otherwise the order of lines has no influence.

    Args:
        ratings: user, item int64, value int8, time int64, line int64, part int16 (the number of
            the file), in the order of `part` and `line`.
        files: The name of each part.

    Returns:
        The examples: user, item, value and time, sorted by time, user and item; no pair twice. And
        the superseded ratings: the same columns, `file` string, `line` int64 and `reason` string,
        sorted by time, user, item, file and line.
    """
    time = ratings["time"].to_numpy()
    order, starts = _group_pairs(ratings["user"].to_numpy(), ratings["item"].to_numpy(), time)
    first, later = order[starts], order[~starts]
    first_of_later = first[np.cumsum(starts)[~starts] - 1]
    in_time = np.argsort(time[later], kind="stable")
    later, first_of_later = later[in_time], first_of_later[in_time]
    names = pa.array(files, pa.string())
    examples = ratings.drop_columns(["line", "part"]).take(pa.array(_by_time(first, time)))
    superseded = ratings.take(pa.array(later))
    reasons = _reasons(ratings.take(pa.array(first_of_later)), superseded, names)
    file_position = ratings.column_names.index("line")
    return examples, (
        superseded.add_column(file_position, "file", names.take(superseded["part"]))
        .drop_columns("part")
        .append_column("reason", reasons)
    )


def first_rows(user: Positions, item: Positions, time: Positions) -> Positions:
    """Return the rows of the first rating of each (user, item), sorted by time, user and item.

    Of several ratings of a pair at the same time, the one in the first row is the first.

    Args:
        user: (n,) int64 ids.
        item: (n,) int64 ids.
        time: (n,) int64, UNIX seconds.

    Returns:
        (pairs,) int64.
    """
    order, starts = _group_pairs(user, item, time)
    return _by_time(order[starts], time)


def _by_time(rows: Positions, time: Positions) -> Positions:
    """Return `rows` sorted by their time; rows of the same time stay in their order."""
    return rows[np.argsort(time[rows], kind="stable")]


def _group_pairs(
    user: Positions, item: Positions, time: Positions
) -> tuple[Positions, NDArray[np.bool_]]:
    """Return the rows sorted by user, item, time and row, and where each pair begins; (n,) each.

    Only the few repeated pairs are sorted by time: a file in the order of users, like KMRD's, then
    costs next to nothing.
    """
    pair = _pair_codes(user, item)
    order = np.argsort(pair, kind="stable")
    same = np.diff(pair[order]) == 0
    repeated = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[repeated]
    order[repeated] = rows[np.lexsort((time[rows], pair[rows]))]
    return order, np.diff(pair[order], prepend=-1) != 0


def _pair_codes(user: Positions, item: Positions) -> Positions:
    """Return a number for each (user, item), (n,), in the order of user and then item."""
    user_codes, _ = pd.factorize(user, sort=True)
    item_codes, items = pd.factorize(item, sort=True)
    pairs: Positions = user_codes * len(items) + item_codes
    return pairs


def _reasons(first: pa.Table, later: pa.Table, names: pa.StringArray) -> pa.ChunkedArray:
    """Return how each `later` rating differs from the `first` one of its pair, (n,) string."""
    line, old, new = (
        column.cast(pa.string()) for column in (first["line"], first["value"], later["value"])
    )
    in_other_file = _join(line, " of ", names.take(first["part"]))
    line = pc.if_else(pc.equal(first["part"], later["part"]), line, in_other_file)
    same_time = pc.equal(first["time"], later["time"])
    repeat = _join(pc.if_else(same_time, "exact duplicate of line ", "repeats line "), line)
    conflict = _join("conflicts with line ", line, ": rate ", old, " then, ", new, " now")
    return pc.if_else(pc.equal(first["value"], later["value"]), repeat, conflict)


def _join(*parts: str | pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*parts, "")
