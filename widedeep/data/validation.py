"""What a row of each of KMRD's files must be, and why a row is quarantined.

`check_rows` splits a batch of lines into good rows, with typed columns, and bad rows, with their
reasons. The rules of a file are a pandera schema, which is validated lazily, so a bad row gets all
of its reasons. A column that has a type in the schema holds integers; one without stays text.
Columns have their names in the file here, because the reasons speak about the file.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from widedeep.data.files import DelimitedFile

QUARANTINE = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "text": pa.string(),
        "reason": pa.string(),
        "time": pa.int64(),
    }
)
"""Rows that cannot be used: the `file`'s name, the `line` counted from 1 with the header, its raw
`text`, and as `reason` each fault as `what is wrong: "value found"`. `time` is null where the row
has no credible time.
"""

IN_FUTURE = "time is in the future"

_FAILURES = pa.schema({"row": pa.int64(), "reason": pa.string()})
_INTEGER = r"^-?0*[0-9]{1,18}$"
_LONGEST_QUOTE = 40

Schema = pandera.DataFrameSchema


@dataclass(frozen=True, slots=True)
class RowCheck:
    """The good and the bad rows of some lines.

    Attributes:
        good: `line` (int64) and the file's columns: int64 where the schema has a type, else string.
        bad: Rows with their reasons, with the columns of `QUARANTINE`.
    """

    good: pa.Table
    bad: pa.Table


def rates_schema(items: pd.Index, now: int) -> Schema:
    """Return the rules of ratings: integers, an item of `items`, a rate of 1 to 10, a past time.

    Times are UNIX seconds from 0 to `now`.
    """
    return Schema(
        {
            "user": _integer("user"),
            "movie": _integer("movie", _one_of(items)),
            "rate": _integer(
                "rate", pandera.Check.in_range(1, 10, error="rate is not from 1 to 10")
            ),
            "time": _integer(
                "time",
                pandera.Check.ge(0, error="time is negative"),
                pandera.Check.le(now, error=IN_FUTURE),
            ),
        }
    )


def items_schema() -> Schema:
    """Return the rules of items: an integer id that no earlier line has; the rest is text."""
    return _unique_id("movie", "title", "title_eng", "year", "grade")


def people_schema() -> Schema:
    """Return the rules of people: an integer id that no earlier line has; the rest is text."""
    return _unique_id("people", "korean", "original")


def castings_schema(items: pd.Index) -> Schema:
    """Return the rules of castings: integers, an item of `items`, and `leading` is 0 or 1."""
    return Schema(
        {
            "movie": _integer("movie", _one_of(items)),
            "people": _integer("people"),
            "order": _integer("order"),
            "leading": _integer(
                "leading", pandera.Check.isin([0, 1], error="leading is not 0 or 1")
            ),
        }
    )


def tags_schema(items: pd.Index, column: str) -> Schema:
    """Return the rules of genres or countries: an item of `items` and a non-empty `column`."""
    not_empty = pandera.Check.str_length(min_value=1, error=f"{column} is empty")
    return Schema(
        {"movie": _integer("movie", _one_of(items)), column: pandera.Column(checks=not_empty)}
    )


def check_rows(file: DelimitedFile, lines: pa.RecordBatch, schema: Schema) -> RowCheck:
    """Split lines of `file` into good and bad rows, and say what is wrong with each bad one."""
    malformed = _malformed(file, lines)
    uncut = lines.filter(malformed)
    formed = lines.filter(pc.invert(malformed)) if len(uncut) else lines
    texts = file.columns(formed)
    values = _typed(texts, schema)
    failures = _failures(values, texts, schema)
    failed = failures["row"].combine_chunks()
    times = _credible_times(values, failures) if "time" in values.column_names else None
    passed = np.ones(len(texts), np.bool_)
    passed[failed.to_numpy()] = False
    bad = [
        _quarantined(file, uncut, _format_faults(file, uncut), None),
        _quarantined(file, formed.take(failed), failures["reason"], times),
    ]
    good = values.add_column(0, "line", formed["line"]).filter(pa.array(passed))
    return RowCheck(good, pa.concat_tables(bad).sort_by("line"))


def reason_class(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the first fault of each reason, (n,) string, without the value found."""
    return pc.list_element(pc.split_pattern(reasons, ": "), 0)


def _integer(name: str, *checks: pandera.Check) -> pandera.Column:
    return pandera.Column("Int64", list(checks), name=name)


def _one_of(items: pd.Index) -> pandera.Check:
    return pandera.Check(lambda item: item.isin(items), error="movie is not in movies.txt")


def _unique_id(id_column: str, *texts: str) -> Schema:
    unique = pandera.Check(
        lambda ids: ~ids.duplicated(), error=f"{id_column} repeats that of an earlier line"
    )
    columns = {id_column: _integer(id_column, unique)}
    return Schema(columns | {name: pandera.Column() for name in texts})


def _malformed(file: DelimitedFile, lines: pa.RecordBatch) -> pa.BooleanArray:
    """Return which lines cannot be cut into columns, (n,)."""
    miscounted = pc.not_equal(pc.list_value_length(lines["fields"]), len(file.names))
    return pc.or_(miscounted, pc.equal(lines["text"], file.header))


def _format_faults(file: DelimitedFile, lines: pa.RecordBatch) -> pa.StringArray:
    """Return why these lines cannot be cut into columns, (n,)."""
    count = pc.cast(pc.list_value_length(lines["fields"]), pa.string())
    expected = f", expected {len(file.names)}"
    miscounted = pc.binary_join_element_wise("wrong number of columns: found ", count, expected, "")
    repeated = pc.if_else(pc.equal(lines["text"], file.header), "repeated header", miscounted)
    return pc.if_else(pc.equal(lines["text"], ""), "blank line", repeated)


def _typed(texts: pa.Table, schema: Schema) -> pa.Table:
    return pa.table(
        {
            name: _parse(texts[name]) if column.dtype is not None else texts[name]
            for name, column in schema.columns.items()
        }
    )


def _parse(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return int64 (n,), null where the text is not an integer of at most 18 digits."""
    plain = pc.and_(pc.ascii_is_decimal(text), pc.less_equal(pc.binary_length(text), 18))
    if not pc.all(plain).as_py():
        readable = pc.match_substring_regex(text, _INTEGER)
        text = pc.if_else(readable, text, pa.scalar(None, pa.string()))
    return text.cast(pa.int64())


def _failures(values: pa.Table, texts: pa.Table, schema: Schema) -> pa.Table:
    """Return the positions (`row`, int64, ascending) of rows that fail, with their `reason`."""
    frame = values.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.set_index("index")
    else:
        return _FAILURES.empty_table()
    rows = np.unique(cases.index.to_numpy(np.int64))
    faults = [
        _column_faults(column, checks, texts[column]).reindex(rows)
        for column, checks in cases.groupby("column", sort=False)["check"]
    ]
    columns = (pa.array(fault, pa.string()) for fault in faults)
    reasons = pc.binary_join_element_wise(*columns, "; ", null_handling="skip")
    return pa.table([rows, reasons], schema=_FAILURES)


def _column_faults(column: str, checks: pd.Series, texts: pa.ChunkedArray) -> pd.Series:
    """Return what is wrong with one column, by row; `checks` are pandera's words for it."""
    rows = pa.array(checks.index, pa.int64())
    quoted = pc.utf8_slice_codeunits(texts.take(rows), 0, _LONGEST_QUOTE)
    wrong = checks.astype("str").replace("not_nullable", f"{column} is not an integer")
    return wrong + ': "' + pd.Series(quoted.to_pandas(), dtype="str").set_axis(checks.index) + '"'


def _credible_times(values: pa.Table, failures: pa.Table) -> pa.ChunkedArray:
    """Return the times of the failed rows, (n,) int64, null where they are in the future.

    A time in the future does not say when the row became known.
    """
    times = values["time"].take(failures["row"])
    future = pc.match_substring(failures["reason"], IN_FUTURE)
    return pc.if_else(future, pa.scalar(None, pa.int64()), times)


def _quarantined(
    file: DelimitedFile,
    lines: pa.RecordBatch,
    reasons: pa.ChunkedArray,
    time: pa.ChunkedArray | None,
) -> pa.Table:
    """Return the lines with the columns of `QUARANTINE`."""
    rows = len(lines)
    columns = {
        "file": pa.repeat(file.path.name, rows),
        "line": lines["line"],
        "text": lines["text"],
        "reason": reasons,
        "time": pa.nulls(rows, pa.int64()) if time is None else time,
    }
    return pa.table(columns, schema=QUARANTINE)
