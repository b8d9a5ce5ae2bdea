"""What a row of each file must be, and the reasons for which one is set aside.

A file's pandera schema is validated lazily, a batch of rows at a time: the failure cases become the
reasons. A column with a type is a column of integers, one without stays text.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pyarrow.compute as pc
from pandera.errors import SchemaErrors

from widedeep.data.files import DelimitedFile, LineBlock

QUARANTINE = pa.schema(
    {
        "file": pa.string(),
        "line": pa.int64(),
        "text": pa.string(),
        "reason": pa.string(),
        "time": pa.int64(),
    }
)
"""Rows set aside: the `file`'s name, the `line` counted from 1 with the header, its raw `text`;
`reason` says each fault as `what is wrong: "value found"`, `time` is null where the row has none to
be believed.
"""

IN_FUTURE = "time is in the future"

_FAILURES = pa.schema({"row": pa.int64(), "reason": pa.string()})
_INTEGER = r"^-?0*[0-9]{1,18}$"
_LONGEST_QUOTE = 40

Schema = pandera.DataFrameSchema


@dataclass(frozen=True, slots=True)
class RowCheck:
    """A batch told apart.

    Attributes:
        good: `line` int64 and the form's columns: int64 where the schema has a type, else string.
        bad: Rows with their reasons, as `QUARANTINE` says.
    """

    good: pa.Table
    bad: pa.Table


def rates_schema(items: pd.Index, now: int) -> Schema:
    """Integers; a known item, a rate of 1 to 10, a time from 0 to `now` (UNIX seconds)."""
    return Schema(
        {
            "user": _integer("user"),
            "movie": _integer("movie", _known(items)),
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
    """A item's id is an integer that no earlier line has; the rest is text."""
    return _identified("movie", "title", "title_eng", "year", "grade")


def people_schema() -> Schema:
    """A person's id is an integer that no earlier line has; the rest is text."""
    return _identified("people", "korean", "original")


def castings_schema(items: pd.Index) -> Schema:
    """Integers; a known item, and `leading` is 0 or 1."""
    return Schema(
        {
            "movie": _integer("movie", _known(items)),
            "people": _integer("people"),
            "order": _integer("order"),
            "leading": _integer(
                "leading", pandera.Check.isin([0, 1], error="leading is not 0 or 1")
            ),
        }
    )


def tags_schema(items: pd.Index, column: str) -> Schema:
    """A known item and something said of it (a genre, a country)."""
    empty = pandera.Check.str_length(min_value=1, error=f"{column} is empty")
    return Schema({"movie": _integer("movie", _known(items)), column: pandera.Column(checks=empty)})


def check_rows(file: DelimitedFile, lines: LineBlock, schema: Schema) -> RowCheck:
    """Tell good rows from bad ones and say what is wrong with each of these."""
    malformed = _malformed(file, lines)
    formed = lines.filter(pc.invert(malformed))
    texts = file.columns(formed)
    values = _typed(texts, schema)
    failures = _failures(values, texts, schema)
    failed, shapeless = failures["row"], lines.filter(malformed)
    times = _believed(values, failures) if "time" in values.column_names else None
    passed = np.ones(len(texts), np.bool_)
    passed[failed.to_numpy()] = False
    bad = [
        _set_aside(file, shapeless, _faults_of_form(file, shapeless), None),
        _set_aside(file, formed.select_rows(failed), failures["reason"], times),
    ]
    good = values.add_column(0, "line", formed.number).filter(pa.array(passed))
    return RowCheck(good, pa.concat_tables(bad).sort_by("line"))


def reason_class(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    """What is wrong first with each row, without the value found."""
    return pc.list_element(pc.split_pattern(reasons, ": "), 0)


def _integer(name: str, *checks: pandera.Check) -> pandera.Column:
    return pandera.Column("Int64", list(checks), name=name)


def _known(items: pd.Index) -> pandera.Check:
    return pandera.Check(lambda item: item.isin(items), error="movie is not in movies.txt")


def _identified(identity: str, *texts: str) -> Schema:
    once = pandera.Check(
        lambda ids: ~ids.duplicated(), error=f"{identity} repeats that of an earlier line"
    )
    return Schema({identity: _integer(identity, once)} | {name: pandera.Column() for name in texts})


def _malformed(file: DelimitedFile, lines: LineBlock) -> pa.BooleanArray:
    """Which lines can't be cut into columns, shape (n,)."""
    miscounted = pc.not_equal(pc.list_value_length(lines.fields), len(file.names))
    return pc.or_(miscounted, pc.equal(lines.text, file.header))


def _faults_of_form(file: DelimitedFile, lines: LineBlock) -> pa.StringArray:
    """Why these lines can't be cut into columns, shape (n,)."""
    found = pc.cast(pc.list_value_length(lines.fields), pa.string())
    wanted = f" found, {len(file.names)} wanted"
    counted = pc.binary_join_element_wise("wrong number of columns: ", found, wanted, "")
    repeated = pc.if_else(pc.equal(lines.text, file.header), "repeated header", counted)
    return pc.if_else(pc.equal(lines.text, ""), "blank line", repeated)


def _typed(texts: pa.Table, schema: Schema) -> pa.Table:
    return pa.table(
        {
            name: _parse(texts[name]) if column.dtype is not None else texts[name]
            for name, column in schema.columns.items()
        }
    )


def _parse(text: pa.ChunkedArray) -> pa.ChunkedArray:
    """int64 (n,), null where the text is no integer of at most 18 digits."""
    plain = pc.and_(pc.ascii_is_decimal(text), pc.less_equal(pc.binary_length(text), 18))
    if not pc.all(plain).as_py():
        readable = pc.match_substring_regex(text, _INTEGER)
        text = pc.if_else(readable, text, pa.scalar(None, pa.string()))
    return text.cast(pa.int64())


def _failures(values: pa.Table, texts: pa.Table, schema: Schema) -> pa.Table:
    """The positions (`row`, int64, ascending) of rows that fail, and the `reason` of each."""
    frame = values.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    try:
        schema.validate(frame, lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases.set_index("index")
    else:
        return _FAILURES.empty_table()
    rows = np.unique(cases.index.to_numpy(np.int64))
    faults = [
        _say(column, checks, texts[column]).reindex(rows)
        for column, checks in cases.groupby("column", sort=False)["check"]
    ]
    columns = (pa.array(fault, pa.string()) for fault in faults)
    reasons = pc.binary_join_element_wise(*columns, "; ", null_handling="skip")
    return pa.table([rows, reasons], schema=_FAILURES)


def _say(column: str, checks: pd.Series, texts: pa.ChunkedArray) -> pd.Series:
    """What is wrong with one column, by row; `checks` are pandera's words for it."""
    found = pc.utf8_slice_codeunits(
        texts.take(pa.array(checks.index, pa.int64())), 0, _LONGEST_QUOTE
    )
    wrong = checks.astype("str").replace("not_nullable", f"{column} is not an integer")
    return wrong + ': "' + pd.Series(found.to_pandas(), dtype="str").set_axis(checks.index) + '"'


def _believed(values: pa.Table, failures: pa.Table) -> pa.ChunkedArray:
    """Times of the failed rows; one in the future says nothing of when the row was known."""
    times = values["time"].take(failures["row"])
    future = pc.match_substring(failures["reason"], IN_FUTURE)
    return pc.if_else(future, pa.scalar(None, pa.int64()), times)


def _set_aside(
    file: DelimitedFile, lines: LineBlock, reasons: pa.ChunkedArray, time: pa.ChunkedArray | None
) -> pa.Table:
    rows = len(lines.text)
    columns = {
        "file": pa.repeat(file.path.name, rows),
        "line": lines.number,
        "text": lines.text,
        "reason": reasons,
        "time": pa.nulls(rows, pa.int64()) if time is None else time,
    }
    return pa.table(columns, schema=QUARANTINE)
