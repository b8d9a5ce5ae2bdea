"""KMRD's files to checked Parquet: each row of ratings becomes one row of one of three tables.

The artefact (kind `ratings`) holds

| file | content |
|---|---|
| ratings.parquet | the examples: the first rating of each (user, movie), see `repeats` |
| superseded.parquet | later ratings of the same pair, with the reason, see `repeats` |
| quarantine.parquet | rows of any file that can't be used, with the reason, see `schema` |
| movies.parquet, people.parquet | see `movies` |
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from widedeep.artifact_store import Artifact, ArtifactStore, Json, code_version, file_digest
from widedeep.data import events as event_log
from widedeep.data import schema
from widedeep.data.kmrd import (
    CASTINGS,
    COUNTRIES,
    FORMS,
    GENRES,
    MOVIES,
    PEOPLES,
    RATES,
    KmrdFile,
    open_folder,
    parts_of,
)
from widedeep.data.movies import movie_table, people_table
from widedeep.data.repeats import FirstRatings, first_ratings
from widedeep.errors import InputError

KIND = "ratings"
MAXIMUM_BAD_SHARE = 0.10
"""Share of a rating file's rows that may be bad; with more the file is not what it seems."""

_EXAMPLES_SHOWN = 3
_RATING = pa.schema(
    {
        "user": pa.int64(),
        "movie": pa.int64(),
        "rate": pa.int8(),
        "time": pa.int64(),
        "line": pa.int64(),
        "part": pa.int16(),
    }
)


Judge = Callable[[KmrdFile, pd.Index, int], Iterator[schema.Verdict]]
"""Gives the verdicts on a file of ratings, some rows at a time, in order (see `schema.rates`)."""


def judge_here(file: KmrdFile, movies: pd.Index, now: int) -> Iterator[schema.Verdict]:
    """One after another, in this process."""
    rules = schema.rates(movies, now)
    for lines in file.lines():
        yield schema.judge(file, lines, rules)


def ingest(
    folder: Path,
    store: ArtifactStore,
    now: int,
    events: Path | None = None,
    judge: Judge = judge_here,
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
    depends_on_day = pc.any(pc.match_substring(reasons, schema.IN_FUTURE)).as_py()
    with store.draft(KIND) as draft:
        for name, table in contents.tables().items():
            pq.write_table(table, draft.path / f"{name}.parquet")
        return draft.finish(today if depends_on_day else key, _summary(contents, files))


def _files(folder: Path, events: Path | None) -> Mapping[str, KmrdFile]:
    files = open_folder(folder)
    served = event_log.open_events(events) if events else None
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
    ratings: FirstRatings
    quarantine: pa.Table
    movies: pa.Table
    people: pa.Table

    def tables(self) -> dict[str, pa.Table]:
        return {
            "ratings": self.ratings.examples,
            "superseded": self.ratings.superseded,
            "quarantine": self.quarantine,
            "movies": self.movies,
            "people": self.people,
        }


def _read(files: Mapping[str, KmrdFile], now: int, judge: Judge) -> _Contents:
    films = _read_movies(files[MOVIES.name])
    movies = pd.Index(films.good["movie"].to_numpy())
    parts = parts_of(files, RATES)
    rows = [part.count() for part in parts]
    ratings = [
        _read_ratings(part, number, judge(part, movies, now), _bearable(part, rows[number]))
        for number, part in enumerate(parts)
    ]
    rules = {
        GENRES.name: schema.tags(movies, "genre"),
        COUNTRIES.name: schema.tags(movies, "country"),
        CASTINGS.name: schema.castings(movies),
        PEOPLES.name: schema.peoples(),
    }
    verdicts = {MOVIES.name: films} | {
        name: schema.judge(files[name], files[name].all_lines(), rules[name])
        for name in rules
        if name in files
    }
    good = {name: verdict.good for name, verdict in verdicts.items()}
    return _Contents(
        sum(rows),
        first_ratings(
            pa.concat_tables(verdict.good for verdict in ratings),
            [part.path.name for part in parts],
        ),
        pa.concat_tables(verdict.bad for verdict in (*ratings, *verdicts.values())),
        movie_table(good),
        people_table(good),
    )


def _read_movies(file: KmrdFile) -> schema.Verdict:
    verdict = schema.judge(file, file.all_lines(), schema.movies())
    if not len(verdict.good):
        raise InputError(f"{file.path} has no good row: {_examples(verdict.bad)}")
    return verdict


def _bearable(part: KmrdFile, rows: int) -> float:
    """How many rows may be bad.

    An event log is what it seems, and a film that is withdrawn would spoil any number of them.
    """
    return inf if part.path.name == event_log.NAME else MAXIMUM_BAD_SHARE * rows


def _read_ratings(
    file: KmrdFile, part: int, verdicts: Iterator[schema.Verdict], bearable: float
) -> schema.Verdict:
    """Its rows, the good ones with the number of the `part` they stand in."""
    good, bad, bad_rows = [], [], 0
    for verdict in verdicts:
        numbered = verdict.good.append_column("part", pa.repeat(part, len(verdict.good)))
        good.append(numbered.select(_RATING.names).cast(_RATING))
        bad.append(verdict.bad)
        bad_rows += len(verdict.bad)
        if bad_rows > bearable:
            raise InputError(
                f"{file.path}: more than {MAXIMUM_BAD_SHARE:.0%} of its {file.count():,} rows "
                f"are bad, for example {_examples(pa.concat_tables(bad))}"
            )
    return schema.Verdict(pa.concat_tables(good), pa.concat_tables(bad))


def _examples(bad: pa.Table) -> str:
    first = bad.slice(0, _EXAMPLES_SHOWN).to_pylist()
    return ", ".join(f"line {row['line']} ({row['reason']})" for row in first)


def _summary(contents: _Contents, files: Mapping[str, KmrdFile]) -> Json:
    examples, superseded = contents.ratings.examples, contents.ratings.superseded
    of_rates = pc.sum(pc.starts_with(contents.quarantine["file"], RATES.stem)).as_py() or 0
    times = pc.min_max(pa.chunked_array([*examples["time"].chunks, *superseded["time"].chunks]))
    classes = pc.value_counts(schema.reason_class(contents.quarantine["reason"])).to_pylist()
    return {
        "counts": {
            "read": contents.read,
            "examples": len(examples),
            "superseded": len(superseded),
            "quarantined": of_rates,
        },
        "quarantined_by_reason": {row["values"]: row["counts"] for row in classes},
        "users": pc.count_distinct(examples["user"]).as_py(),
        "movies": pc.count_distinct(examples["movie"]).as_py(),
        "first_time": times["min"].as_py(),
        "last_time": times["max"].as_py(),
        "absent": [form.name for form in FORMS if not parts_of(files, form)],
    }
