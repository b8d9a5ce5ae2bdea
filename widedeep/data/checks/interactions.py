"""Checks of the rows of all tables: ids, times, labels, repeats, and the split."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from widedeep.data.checks.result import EXAMPLES, CheckResult, Status
from widedeep.data.checks.rows import CheckedRows
from widedeep.data.dataset import Side
from widedeep.data.dataset_tables import LabelRule, TimeUnit
from widedeep.data.ids import Keys
from widedeep.data.ingest import MAXIMUM_BAD_SHARE
from widedeep.data.profile.columns import YEAR_1980, YEAR_2100
from widedeep.data.split import MINIMUM_ROWS, Split
from widedeep.data.validation import IN_FUTURE, reason_class
from widedeep.data.values import parse_times, read_labels, recognise_unit
from widedeep.inputs import InputError, close_name, to_iso

_LEAST_SHARE = 0.01
_MOST_LOST = 0.5
_MOST_REPEATED = 0.25
_REPEATED_ID = "repeats that of an earlier line"
_ABSENT_ID = " is not in "


def check_tables(data: CheckedRows) -> Iterator[CheckResult]:
    """Yield the outcome of each check of whole tables: their rows, ids, and references."""
    yield _rows(data)
    yield from _keys(data)
    if len(data.good):
        yield from _references(data)


def check_interactions(data: CheckedRows) -> Iterator[CheckResult]:
    """Yield the outcome of each check of the interactions' labels, times and repeats."""
    yield _label(data)
    yield _time(data)
    if len(data.good):
        yield from _repeats(data)


def _rows(data: CheckedRows) -> CheckResult:
    """Check the share of rows that ingest would set aside."""
    worst = max(data.files, key=lambda file: file.bad / max(file.rows, 1))
    count, share = len(data.bad), worst.bad / max(worst.rows, 1)
    if not count:
        return CheckResult("rows", Status.PASS, f"all {data.rows:,} rows can be used", data.rows)
    kinds = _kinds(data.bad)
    if share > MAXIMUM_BAD_SHARE:
        message = (
            f"{share:.1%} of the {worst.rows:,} rows of {worst.name} cannot be used, more than "
            f"{MAXIMUM_BAD_SHARE:.0%}: {kinds}"
        )
        if _future(data) > count / 2:
            message += '; are the times in milliseconds? Then say time_unit = "ms"'
        return CheckResult("rows", Status.FAIL, message, count, _lines(data.bad))
    message = f"{count:,} of {data.rows:,} rows would be set aside: {kinds}"
    return CheckResult("rows", Status.WARN, message, count, _lines(data.bad))


def _future(data: CheckedRows) -> int:
    """Return how many rows are bad because their time is in the future."""
    return int(pc.sum(pc.match_substring(data.bad["reason"], IN_FUTURE)).as_py() or 0)


def _keys(data: CheckedRows) -> Iterator[CheckResult]:
    """Check that ids are unique in the other tables, and that their rows can be used."""
    if not data.side.good:
        return
    bad = pa.concat_tables([data.bad_of(name) for name in data.side.good])
    is_repeated = pc.match_substring(bad["reason"], _REPEATED_ID)
    repeated, others = bad.filter(is_repeated), bad.filter(pc.invert(is_repeated))
    count, tables = sum(map(len, data.side.good.values())), ", ".join(data.side.good)
    if len(repeated):
        message = f"{len(repeated):,} rows of {tables} repeat an id, of which the first row counts"
        yield CheckResult("keys", Status.WARN, message, len(repeated), _lines(repeated))
    else:
        message = f"{count:,} rows of {tables}, ids unique"
        yield CheckResult("keys", Status.PASS, message, count)
    if len(others):
        message = f"{len(others):,} rows of {tables} would be set aside: {_kinds(others)}"
        yield CheckResult("other rows", Status.WARN, message, len(others), _lines(others))


def _kinds(bad: pa.Table) -> str:
    """Return the kinds of faults of bad rows, with how often each occurs."""
    counts = pc.value_counts(reason_class(bad["reason"])).to_pylist()
    counts.sort(key=lambda entry: -entry["counts"])
    return ", ".join(f"{entry['values']} ({entry['counts']:,})" for entry in counts[:EXAMPLES])


def _lines(bad: pa.Table) -> tuple[str, ...]:
    rows = bad.slice(0, EXAMPLES).to_pylist()
    return tuple(f"{row['file']} line {row['line']}: {row['reason']}" for row in rows)


def _time(data: CheckedRows) -> CheckResult:
    """Check that times lie from 1980 until now, and that they are in the unit that is stated."""
    column, unit = data.spec.interactions.time, data.unit
    texts = data.first[column]
    shown = ", ".join(map(str, texts.drop_null().slice(0, 3).to_pylist()))
    likely = recognise_unit(texts) if len(texts) else unit
    if likely is not unit:
        message = (
            f'{column} is read as "{unit.value}", but times such as {shown} look like '
            f'"{likely.value}"; say time_unit = "{likely.value}" in [interactions]'
        )
        return CheckResult("time", Status.FAIL, message, len(texts), _texts(texts))
    late = _future(data)
    seconds = data.good["time"].to_numpy() if len(data.good) else _plausible(texts, unit)
    early = int((seconds < YEAR_1980).sum())
    if not len(seconds) + late:
        message = f"none of the times of {column}, such as {shown}, can be read"
        return CheckResult("time", Status.FAIL, message, len(texts), _texts(texts))
    if max(early, late) > (len(seconds) + late) / 2:
        where = "in the future" if late > early else "before 1980"
        message = (
            f'most times of {column}, such as {shown}, are {where} if read as "{unit.value}"; '
            "is the unit right, or are they cut short?"
        )
        return CheckResult("time", Status.FAIL, message, max(early, late), _texts(texts))
    span = f"from {to_iso(int(seconds.min()))} to {to_iso(int(seconds.max()))}"
    if early or late:
        message = f"{span}; {early:,} rows are before 1980, and {late:,} in the future"
        return CheckResult("time", Status.WARN, message, early + late)
    return CheckResult("time", Status.PASS, span, len(seconds))


def _plausible(texts: pa.ChunkedArray, unit: TimeUnit) -> Keys:
    """Return those times that are not far in the future, UNIX seconds."""
    seconds = parse_times(texts, unit)
    return seconds[(seconds >= 0) & (seconds < YEAR_2100)]


def _texts(column: pa.ChunkedArray) -> tuple[str, ...]:
    """Return the first different values of a column."""
    return tuple(map(str, column.drop_null().unique()[:EXAMPLES].to_pylist()))


def _label(data: CheckedRows) -> CheckResult:
    """Check that the label can be read, has both values, and a share that can be learned from."""
    rule = data.spec.interactions.label
    if rule is None:
        message = "every row is positive; negatives are sampled"
        return CheckResult("label", Status.PASS, message, len(data.good))
    texts = data.first[rule.column]
    _, readable = read_labels(rule, texts)
    if readable.mean() < 1 - MAXIMUM_BAD_SHARE:
        message = f"{rule.column} holds {', '.join(_texts(texts)[:5])}; expected {_expected(rule)}"
        count = int((~readable).sum())
        return CheckResult("label", Status.FAIL, message, count, _texts(texts))
    label = data.good["label"].to_numpy()
    count, share = int(label.sum()), float(label.mean()) if len(label) else 0.0
    message = f"{data.spec.label}: {share:.1%} of {len(label):,} rows are positive"
    if data.spec.negatives is not None:
        return CheckResult("label", Status.PASS, f"{message}; negatives are sampled", count)
    if share in {0.0, 1.0}:
        values = _texts(texts)
        hint = close_name(str(rule.equals), values) if rule.equals is not None else ""
        message += f"; expected both classes; {rule.column} holds {', '.join(values[:5])}{hint}"
        return CheckResult("label", Status.FAIL, message, count, values)
    sane = _LEAST_SHARE <= share <= 1 - _LEAST_SHARE
    return CheckResult("label", Status.PASS if sane else Status.WARN, message, count)


def _expected(rule: LabelRule) -> str:
    """Return what a column must hold, and what to do if it does not."""
    if rule.at_least is not None:
        return "numbers, because the label has at_least"
    return "0 and 1; for other values say which one is positive: equals = …, or at_least = …"


def _references(data: CheckedRows) -> Iterator[CheckResult]:
    """Check that the items and users of interactions are in their tables."""
    for side in (Side.ITEM, Side.USER):
        name = f"{side.value}s"
        if name not in data.side.good:
            continue
        known = data.side.good[name]["key"].to_numpy()
        met = np.unique(data.good[side.value].to_numpy())
        lost = np.setdiff1d(met, known)
        message = f"{len(met) - len(lost):,} of {len(met):,} {name} are in their table"
        status = Status.FAIL if len(lost) > _MOST_LOST * len(met) else Status.WARN
        if len(lost):
            message += f"; {len(lost):,} are not, so their attributes are missing"
        refused = data.bad.filter(pc.match_substring(data.bad["reason"], _ABSENT_ID))
        if side is Side.ITEM and len(refused):
            message += f"; {len(refused):,} rows are bad because their item is not"
            yield CheckResult(f"{name} resolve", status, message, len(refused), _lines(refused))
            continue
        status = status if len(lost) else Status.PASS
        examples = tuple(data.show(lost[:EXAMPLES]))
        yield CheckResult(f"{name} resolve", status, message, len(lost), examples)


def _repeats(data: CheckedRows) -> Iterator[CheckResult]:
    """Check for exact duplicates, and for rows that repeat a user and an item."""
    hashable = [f.name for f in data.good.schema if not pa.types.is_list(f.type)]
    frame = data.good.select(hashable).drop_columns(["line"]).to_pandas()
    if data.spec.interactions.user is None:
        frame = frame.drop(columns="user")
    exact = frame.duplicated()
    count = int(exact.sum())
    message = f"{count:,} exact duplicates"
    status = Status.WARN if count else Status.PASS
    yield CheckResult("duplicates", status, message, count, _pairs(data, frame[exact]))
    if data.spec.interactions.user is None:
        return
    pairs, policy = frame.duplicated(["user", "item"]), data.spec.interactions.repeats
    count = int(pairs.sum())
    what = "later ones are superseded" if policy == "first" else "all are examples"
    message = f'{count:,} rows repeat a user and an item; with repeats = "{policy}" {what}'
    doubtful = policy == "first" and count > _MOST_REPEATED * len(frame)
    if doubtful:
        message += '; if they are impressions, say repeats = "all"'
    status = Status.WARN if doubtful else Status.PASS
    yield CheckResult("repeats", status, message, count, _pairs(data, frame[pairs]))


def _pairs(data: CheckedRows, frame: pd.DataFrame) -> tuple[str, ...]:
    """Return the first rows as the ids of user and item, and the time."""
    rows = frame.head(EXAMPLES)
    names = [name for name in ("user", "item") if name in rows]
    ids = [[f"{name} {text}" for text in data.show(rows[name].to_numpy())] for name in names]
    times = [to_iso(int(time)) for time in rows["time"]]
    return tuple(", ".join(parts) for parts in zip(*ids, times, strict=True))


def check_split(data: CheckedRows) -> CheckResult:
    """Check that training, validation and holdout have enough rows, of both classes."""
    frame = data.good.select(["user", "item", "time", "label"]).to_pandas()
    frame = frame.sort_values("time", kind="stable")
    if data.spec.interactions.repeats == "first":
        frame = frame.drop_duplicates(["user", "item"])
    time, label = frame["time"].to_numpy(), frame["label"].to_numpy()
    try:
        split = Split.from_times(time, int(time.max()) + 1)
        if data.spec.negatives is None:
            split.check(time, label)
    except InputError as error:
        message = f"{error}; each part needs {MINIMUM_ROWS} rows of both classes"
        return CheckResult("split", Status.FAIL, message, len(frame))
    return CheckResult("split", Status.PASS, split.to_text(), len(frame))
