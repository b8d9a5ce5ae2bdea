"""KMRD's files to checked Parquet: each row of ratings becomes one row of one of three tables.

The artefact (kind `ratings`) holds

| file | content |
|---|---|
| ratings.parquet | the examples: the first rating of each (user, item), see `repeats` |
| superseded.parquet | later ratings of the same pair, with the reason, see `repeats` |
| quarantine.parquet | rows of any file that can't be used, with the reason, see `schema` |
| items.parquet, people.parquet | see `items` |

Repeated ratings: the first one of each (user, item) is the example, later ones are superseded.

A second rating of the same pair on both sides of a split by time would hand over its label, and
a conflicting one would contradict it. Measured on KMRD-small: 6,379 of 140,710 ratings repeat a
pair, 2,074 of them with another rate.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    FORMS,
    GENRES,
    ITEMS,
    PEOPLES,
    RATES,
    DelimitedFile,
    open_folder,
    parts_of,
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

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FirstInteractions:
    """All ratings, told apart.

    Attributes:
        examples: user, item int64, rate int8, time int64 (UNIX seconds), sorted by time, user and
            item; no pair twice.
        superseded: The same columns, `file` string, `line` int64 and `reason` string, sorted by
            time, user, item, file and line.
    """

    examples: pa.Table
    superseded: pa.Table


def split_repeats(ratings: pa.Table, files: Sequence[str]) -> FirstInteractions:
    """Tell first ratings from later ones.

    Of several ratings of one pair at one time the one on the first line of the first file counts as
    the first; otherwise the order of lines has no say.

    Args:
        ratings: user, item int64, rate int8, time int64, line int64, part int16 (the number of the
            file), in the order of `part` and `line`.
        files: Name of each part.
    """
    time = ratings["time"].to_numpy()
    order, starts = _grouped(ratings["user"].to_numpy(), ratings["item"].to_numpy(), time)
    first, later = order[starts], order[~starts]
    partner = first[np.cumsum(starts)[~starts] - 1]
    in_time = np.argsort(time[later], kind="stable")
    later, partner = later[in_time], partner[in_time]
    examples = _in_time(first, time)
    names = pa.array(files, pa.string())
    superseded = ratings.take(pa.array(later))
    place = ratings.column_names.index("line")
    reasons = _reasons(ratings.take(pa.array(partner)), superseded, names)
    return FirstInteractions(
        ratings.drop_columns(["line", "part"]).take(pa.array(examples)),
        superseded.add_column(place, "file", names.take(superseded["part"]))
        .drop_columns("part")
        .append_column("reason", reasons),
    )


def first_rows(user: Positions, item: Positions, time: Positions) -> Positions:
    """The rows of the first ratings, sorted by time, user and item; the columns are (n,) each.

    Of several of one pair at one time the one that stands first counts as the first.
    """
    order, starts = _grouped(user, item, time)
    return _in_time(order[starts], time)


def _in_time(rows: Positions, time: Positions) -> Positions:
    """Rows in the order of their time, else as they are."""
    return rows[np.argsort(time[rows], kind="stable")]


def _grouped(
    user: Positions, item: Positions, time: Positions
) -> tuple[Positions, NDArray[np.bool_]]:
    """The rows by user, item, time and place, and where among them each pair begins; (n,) each.

    Sorting by time is left to the few pairs that are repeated: a file that is ordered by user, as
    KMRD's is, then costs next to nothing.
    """
    pair = _pairs(user, item)
    order = np.argsort(pair, kind="stable")
    same = np.diff(pair[order]) == 0
    repeated = np.flatnonzero(np.append(same, False) | np.append(False, same))
    rows = order[repeated]
    order[repeated] = rows[np.lexsort((time[rows], pair[rows]))]
    return order, np.diff(pair[order], prepend=-1) != 0


def _pairs(user: Positions, item: Positions) -> Positions:
    """One number for each (user, item), shape (n,), in the order of user and then item."""
    users, _ = pd.factorize(user, sort=True)
    items, distinct = pd.factorize(item, sort=True)
    pairs: Positions = users * len(distinct) + items
    return pairs


def _reasons(then: pa.Table, now: pa.Table, names: pa.StringArray) -> pa.ChunkedArray:
    """How each rating `now` differs from the first one of its pair, shape (n,)."""
    line, old, new = (
        column.cast(pa.string()) for column in (then["line"], then["value"], now["value"])
    )
    elsewhere = _text(line, " of ", names.take(then["part"]))
    line = pc.if_else(pc.equal(then["part"], now["part"]), line, elsewhere)
    same_time = pc.equal(then["time"], now["time"])
    repeat = _text(pc.if_else(same_time, "exact duplicate of line ", "repeats line "), line)
    conflict = _text("conflicts with line ", line, ": ", old, " then, ", new, " now")
    return pc.if_else(pc.equal(then["value"], now["value"]), repeat, conflict)


def _text(*parts: str | pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(*parts, "")


KIND = "ratings"
MAXIMUM_BAD_SHARE = 0.10
"""Share of a rating file's rows that may be bad; with more the file is not what it seems."""

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
_KMRD_NAMES = [*RATES.columns, "line", "part"]
"""What the columns of `_RATING` are called in KMRD's files, in the same order."""


Judge = Callable[[DelimitedFile, pd.Index, int], Iterator[RowCheck]]
"""Gives the verdicts on a file of ratings, some rows at a time, in order (see `schema.rates`)."""


def check_locally(file: DelimitedFile, items: pd.Index, now: int) -> Iterator[RowCheck]:
    """One after another, in this process."""
    rules = rates_schema(items, now)
    for lines in file.lines():
        yield check_rows(file, lines, rules)


def ingest(
    folder: Path,
    store: ArtifactStore,
    now: int,
    events: Path | None = None,
    judge: Judge = check_locally,
) -> Artifact:
    """Check the files in `folder` and keep what was found, or find it already kept.

    Whether a rating lies in the future depends on the day, so an artefact that set some aside for
    that is made anew on another day (UTC); any other one depends on the files and the code alone.

    Args:
        folder: Files in KMRD's form; only ratings and movies.txt are required.
        store: Where the artefact is kept.
        now: UNIX seconds; a rating of a later time is set aside.
        events: A server's ratings, see `events`; it may be absent and may grow meanwhile.
        judge: Where rows of ratings are checked.

    Raises:
        InputError: A file is not in KMRD's form, or more than `MAXIMUM_BAD_SHARE` of a file's
            ratings are bad; nothing has been written.
        OSError: The disk is full or failing; nothing has been kept.
    """
    files = _files(folder, events)
    key = {
        "files": {name: file_digest(file.path, file.size) for name, file in files.items()},
        "code": code_version("data"),
        "future_on": None,
    }
    today = key | {"future_on": datetime.fromtimestamp(now, UTC).date().isoformat()}
    found = store.find(KIND, key) or store.find(KIND, today)
    if found is not None:
        return found
    contents = _read(files, now, judge)
    reasons = contents.quarantine["reason"]
    depends_on_day = pc.any(pc.match_substring(reasons, IN_FUTURE)).as_py()
    with store.draft(KIND) as draft:
        for name, table in contents.tables().items():
            pq.write_table(table, draft.path / f"{name}.parquet")
        return draft.finish(today if depends_on_day else key, _summary(contents, files))


def _files(folder: Path, events: Path | None) -> Mapping[str, DelimitedFile]:
    files = open_folder(folder)
    served = open_feedback(events) if events else None
    if served is None:
        return files
    if served.path.name in files:
        raise InputError(
            f"{folder} has a file {served.path.name}, which is the name of a server's event log; "
            "another name is wanted"
        )
    return {**files, served.path.name: served}


@dataclass(frozen=True, slots=True)
class _Contents:
    read: int
    ratings: FirstInteractions
    quarantine: pa.Table
    items: pa.Table
    people: pa.Table

    def tables(self) -> dict[str, pa.Table]:
        return {
            "ratings": self.ratings.examples,
            "superseded": self.ratings.superseded,
            "quarantine": self.quarantine,
            "items": self.items,
            "people": self.people,
        }


def _read(files: Mapping[str, DelimitedFile], now: int, judge: Judge) -> _Contents:
    item_ids = _read_items(files[ITEMS.name])
    items = pd.Index(item_ids.good["movie"].to_numpy())
    parts = parts_of(files, RATES)
    rows = [part.count() for part in parts]
    ratings = [
        _read_ratings(part, number, judge(part, items, now), _bearable(part, rows[number]))
        for number, part in enumerate(parts)
    ]
    rules = {
        GENRES.name: tags_schema(items, "genre"),
        COUNTRIES.name: tags_schema(items, "country"),
        CASTINGS.name: castings_schema(items),
        PEOPLES.name: people_schema(),
    }
    verdicts = {ITEMS.name: item_ids} | {
        name: check_rows(files[name], files[name].all_lines(), rules[name])
        for name in rules
        if name in files
    }
    good = {name: verdict.good for name, verdict in verdicts.items()}
    return _Contents(
        sum(rows),
        split_repeats(
            pa.concat_tables(verdict.good for verdict in ratings),
            [part.path.name for part in parts],
        ),
        pa.concat_tables(verdict.bad for verdict in (*ratings, *verdicts.values())),
        item_table(good),
        people_table(good),
    )


def _read_items(file: DelimitedFile) -> RowCheck:
    verdict = check_rows(file, file.all_lines(), items_schema())
    if not len(verdict.good):
        raise InputError(f"{file.path} has no good row: {_examples(verdict.bad)}")
    return verdict


def _bearable(part: DelimitedFile, rows: int) -> float:
    """How many rows may be bad.

    An event log is what it seems, and a item that is withdrawn would spoil any number of them.
    """
    return inf if part.path.name == FEEDBACK_FILE else MAXIMUM_BAD_SHARE * rows


def _read_ratings(
    file: DelimitedFile, part: int, verdicts: Iterator[RowCheck], bearable: float
) -> RowCheck:
    """Its rows, the good ones with the number of the `part` they stand in."""
    good, bad, bad_rows = [], [], 0
    for verdict in verdicts:
        numbered = verdict.good.append_column("part", pa.repeat(part, len(verdict.good)))
        good.append(numbered.select(_KMRD_NAMES).rename_columns(_RATING.names).cast(_RATING))
        bad.append(verdict.bad)
        bad_rows += len(verdict.bad)
        if bad_rows > bearable:
            raise InputError(
                f"{file.path}: more than {MAXIMUM_BAD_SHARE:.0%} of its {file.count():,} rows "
                f"are bad, for example {_examples(pa.concat_tables(bad))}"
            )
    return RowCheck(pa.concat_tables(good), pa.concat_tables(bad))


def _examples(bad: pa.Table) -> str:
    first = bad.slice(0, _EXAMPLES_SHOWN).to_pylist()
    return ", ".join(f"line {row['line']} ({row['reason']})" for row in first)


def _summary(contents: _Contents, files: Mapping[str, DelimitedFile]) -> Json:
    examples, superseded = contents.ratings.examples, contents.ratings.superseded
    of_rates = pc.sum(pc.starts_with(contents.quarantine["file"], RATES.stem)).as_py() or 0
    times = pc.min_max(pa.chunked_array([*examples["time"].chunks, *superseded["time"].chunks]))
    classes = pc.value_counts(reason_class(contents.quarantine["reason"])).to_pylist()
    return {
        "counts": {
            "read": contents.read,
            "examples": len(examples),
            "superseded": len(superseded),
            "quarantined": of_rates,
        },
        "quarantined_by_reason": {row["values"]: row["counts"] for row in classes},
        "users": pc.count_distinct(examples["user"]).as_py(),
        "items": pc.count_distinct(examples["item"]).as_py(),
        "first_time": times["min"].as_py(),
        "last_time": times["max"].as_py(),
        "absent": [form.name for form in FORMS if not parts_of(files, form)],
    }
