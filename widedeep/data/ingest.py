"""Ingest: from the files of a data set to checked Parquet.

Each row of interactions ends in one of three tables. The artefact (kind `ratings`) that `ingest`
returns holds

| file | content |
|---|---|
| ratings.parquet | the examples, see `tables.Interactions` |
| superseded.parquet | later interactions of the same pairs, with the reason |
| quarantine.parquet | rows of any file that cannot be used, see `validation.QUARANTINE` |
| items.parquet, users.parquet, names.parquet, dataset.json | see `tables.SideTables` |

The rows of a file are checked some at a time. With `repeats = "first"` a repeated interaction is
not an example: on both sides of a split by time it would leak its label, and a conflicting one
would contradict it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from widedeep.data.dataset import DatasetSpec, FeatureType, Side
from widedeep.data.feedback_log import FEEDBACK_FILE, feedback_spec, open_feedback
from widedeep.data.files import DataFile, open_tables
from widedeep.data.negatives import sample_negatives
from widedeep.data.reading.small_files import JoinedFile, join_small_files, members, with_units
from widedeep.data.repeats import split_repeats
from widedeep.data.side_tables import build_side_tables, check_side_files
from widedeep.data.split import MINIMUM_ROWS
from widedeep.data.tables import CONTEXT, SideTables
from widedeep.data.validation import (
    IN_FUTURE,
    QUARANTINE,
    InteractionRules,
    RowCheck,
    reason_class,
)
from widedeep.inputs import InputError
from widedeep.store import Artifact, ArtifactStore, Json, code_version, file_digest

KIND = "ratings"
MAXIMUM_BAD_SHARE = 0.10
"""Share of an interaction file's rows that may be bad; with more, it is not what it seems."""

_EXAMPLES_SHOWN = 3
_YEAR_2100, _YEAR_1980 = 4_102_444_800, 315_532_800

RowChecker = Callable[[DataFile, InteractionRules], Iterator[RowCheck]]
"""Checks the rows of a file of interactions, some at a time and in order."""


def check_locally(file: DataFile, rules: InteractionRules) -> Iterator[RowCheck]:
    """Check the rows of a file of interactions in this process, one part after another."""
    for part in file.ranges():
        yield rules.check(file, file.read(part))


def ingest(  # noqa: PLR0917  what is read, where it goes, and how
    folder: Path,
    spec: DatasetSpec,
    store: ArtifactStore,
    now: int,
    events: Path | None = None,
    check: RowChecker = check_locally,
) -> Artifact:
    """Check the files in `folder` and store the tables, or find them already stored.

    Whether an interaction lies in the future depends on the day, so an artefact in which some are
    quarantined for that reason is made anew on another day (UTC). Any other artefact depends on the
    files, the spec and the code alone.

    Args:
        folder: The data folder.
        spec: What its files mean.
        store: Where the artefact is stored.
        now: UNIX seconds; interactions of a later time are quarantined.
        events: A server's feedback log; it may be absent and may grow meanwhile.
        check: How the rows of interactions are checked.

    Raises:
        InputError: A file is not what the spec says, or more than `MAXIMUM_BAD_SHARE` of a file's
            interactions are bad; nothing has been written.
        OSError: The disk is full or failing; nothing has been stored.
    """
    files = _Files.open(folder, spec, events)
    key = {
        "files": files.digests(),
        "spec": spec.as_json(),
        "code": code_version("data"),
        "future_on": None,
    }
    today = key | {"future_on": datetime.fromtimestamp(now, UTC).date().isoformat()}
    artifact = store.find(KIND, key) or store.find(KIND, today)
    if artifact is not None:
        return artifact
    checked = _check_files(files, now, check)
    reasons = checked.tables["quarantine"]["reason"]
    depends_on_day = pc.any(pc.match_substring(reasons, IN_FUTURE)).as_py()
    with store.draft(KIND) as draft:
        for name, table in checked.tables.items():
            pq.write_table(table, draft.path / f"{name}.parquet")
        checked.side.save(draft.path)
        return draft.finish(today if depends_on_day else key, _summary(checked, files))


@dataclass(frozen=True, slots=True)
class _Files:
    """The files of a data set.

    Attributes:
        spec: What they mean.
        interactions: Files of interactions, a server's feedback log the last one.
        feedback: The feedback log, if there is one.
        others: Files of the other tables, by table.
    """

    spec: DatasetSpec
    interactions: Sequence[DataFile]
    feedback: DataFile | None
    others: Mapping[str, Sequence[DataFile]]

    @classmethod
    def open(cls, folder: Path, spec: DatasetSpec, events: Path | None) -> "_Files":
        """Open all files, and check their columns; see `ingest`."""
        others = open_tables(spec, folder)
        interactions = others.pop("interactions")
        feedback = open_feedback(events, spec) if events else None
        if feedback is None:
            return cls(spec, interactions, None, others)
        if any(file.path.name == FEEDBACK_FILE for file in interactions):
            raise InputError(
                f"{folder} has a file {FEEDBACK_FILE}, which is the name of a server's feedback "
                "log; give it another name"
            )
        return cls(spec, [*interactions, feedback], feedback, others)

    def digests(self) -> dict[str, str]:
        """Return a digest of each file's bytes that are used, by name."""
        files = [*self.interactions, *(file for part in self.others.values() for file in part)]
        return {file.path.name: file_digest(file.path, file.size) for file in files}


@dataclass(frozen=True, slots=True)
class _Checked:
    """The tables of interactions by name, and the tables beside them."""

    tables: Mapping[str, pa.Table]
    side: SideTables


def _check_files(files: _Files, now: int, check: RowChecker) -> _Checked:
    """Check all files; return the artefact's tables."""
    spec = files.spec
    side = check_side_files(spec, files.others)
    parts: list[RowCheck] = []
    number = 0
    for file in join_small_files(files.interactions):
        is_feedback = file is files.feedback
        own = feedback_spec(spec) if is_feedback else spec
        limit = inf if is_feedback else MAXIMUM_BAD_SHARE
        for alike, unit in with_units(file, own):
            rules = side.interaction_rules(own, now, unit)
            parts.append(_check_interactions(alike, number, check(alike, rules), limit))
            number += len(members(alike))
    good = pa.concat_tables((part.good for part in parts), promote_options="default")
    _refuse_one_label(good, spec)
    good = _with_users(good, spec)
    names = [file.path.name for file in files.interactions]
    examples, superseded = split_repeats(
        good, names, first_only=spec.interactions.repeats == "first"
    )
    texts = pa.concat_tables([part.texts for part in parts])
    tables = build_side_tables(spec, side, good, texts)
    tables_by_name = {
        "ratings": _as_examples(_with_negatives(examples, spec), spec),
        "superseded": superseded,
        "quarantine": pa.concat_tables([*(part.bad for part in parts), *side.bad]),
    }
    return _Checked(tables_by_name, tables)


def _check_interactions(
    file: DataFile, number: int, checks: Iterator[RowCheck], limit: float
) -> RowCheck:
    """Return a file's interactions with its `number` as `part`, see `_GOOD`.

    Those of joined files have the numbers that follow. A feedback log may have any number of bad
    rows: its form is certain, and one item that is withdrawn makes all of its interactions bad.
    """
    rows = file.count_rows()
    good, bad, texts, bad_rows = [], [], [], 0
    for unnumbered in checks:
        check = locate_rows(unnumbered, file, number, limit)
        good.append(check.good)
        bad.append(check.bad)
        texts.append(check.texts)
        bad_rows += len(check.bad)
        if bad_rows > limit * rows:
            raise _mostly_bad(file, rows, pa.concat_tables(bad))
    table = pa.concat_tables(good)
    _refuse_early_times(file, table)
    return RowCheck(table, pa.concat_tables(bad), pa.concat_tables(texts))


def locate_rows(check: RowCheck, file: DataFile, number: int, limit: float) -> RowCheck:
    """Number each row's file as `part`; rows of joined files get their own file and line.

    Raises:
        InputError: More than the share `limit` of the rows of one of joined files are bad.
    """
    if not isinstance(file, JoinedFile):
        same = pa.repeat(pa.scalar(number, pa.int32()), len(check.good))
        return replace(check, good=check.good.append_column("part", same))
    part, line = file.locate(check.good["line"].to_numpy())
    good = check.good.set_column(check.good.column_names.index("line"), "line", pa.array(line))
    good = good.append_column("part", pa.array((part + number).astype(np.int32)))
    part, line = file.locate(check.bad["line"].to_numpy())
    names = pa.array([one.path.name for one in file.files], pa.string())
    bad = check.bad.set_column(0, QUARANTINE.field("file"), names.take(pa.array(part)))
    bad = bad.set_column(1, QUARANTINE.field("line"), pa.array(line))
    count = np.bincount(part, minlength=len(file.files))
    for worst in np.flatnonzero(count > limit * file.rows).tolist():
        its_own = bad.filter(pa.array(part == worst))
        raise _mostly_bad(file.files[worst], int(file.rows[worst]), its_own)
    return RowCheck(good, bad, check.texts)


def _mostly_bad(file: DataFile, rows: int, bad: pa.Table) -> InputError:
    return InputError(
        f"{file.path}: more than {MAXIMUM_BAD_SHARE:.0%} of its {rows:,} rows are bad, for "
        f"example {_show_examples(bad)}{_time_hint(bad)}"
    )


def _time_hint(bad: pa.Table) -> str:
    """Return what to do if times are read in too large a unit."""
    future = pc.sum(pc.match_substring(bad["reason"], IN_FUTURE)).as_py() or 0
    if future < len(bad) / 2:
        return ""
    return '; if the times are in milliseconds, say so: time_unit = "ms" in [interactions]'


def _refuse_early_times(file: DataFile, good: pa.Table) -> None:
    """Raise InputError if most times lie in the first years of UNIX time and are cut short."""
    if not len(good):
        return
    middle = float(np.median(good["time"].to_numpy()))
    if middle < _YEAR_1980 and middle > 0 and len(good) >= _FEW_ROWS:
        date = datetime.fromtimestamp(middle, UTC).date()
        raise InputError(
            f"{file.path}: half of the times are before {date}, long before such data existed; "
            "expected UNIX seconds, or time_unit in [interactions] for another unit; are the "
            "times cut short?"
        )


_FEW_ROWS = 1000
"""Fewer rows do not tell whether a unit is wrong: they may hold any times."""


def _refuse_one_label(good: pa.Table, spec: DatasetSpec) -> None:
    """Raise InputError if all labels are the same: there is nothing to learn."""
    rule, labels = spec.interactions.label, pc.value_counts(good["label"])
    if rule is None or len(labels) != 1 or len(good) < MINIMUM_ROWS:
        return
    values = ""
    if spec.interactions.label_from_value:
        ends = pc.min_max(good["value"])
        values = f", whose values go from {ends['min'].as_py():g} to {ends['max'].as_py():g}"
    share = "each" if labels[0]["values"].as_py() else "none"
    raise InputError(
        f"{share} of the {len(good):,} interactions is positive by the rule {rule.to_text()}"
        f"{values}; expected both classes: correct label in dataset.toml"
    )


def _with_users(good: pa.Table, spec: DatasetSpec) -> pa.Table:
    """Give each row of anonymous traffic a user of its own, from -2 downwards."""
    if spec.interactions.user is not None:
        return good
    return good.append_column("user", pa.array(-2 - np.arange(len(good))))


def _as_examples(examples: pa.Table, spec: DatasetSpec) -> pa.Table:
    """Return the columns of `tables.Interactions`: of features, those of the context."""
    names = [n for n in ("user", "item", "value", "time", "label") if n in examples.column_names]
    names += [n for n in ("weight", "sampled") if n in examples.column_names]
    columns = {name: examples[name] for name in names}
    for feature in spec.features_of(Side.CONTEXT):
        if feature.derived_from_time:
            continue
        column = examples[feature.name]
        if feature.type is FeatureType.NUMBER:
            column = column.fill_null(np.nan)
        else:
            column = column.combine_chunks().dictionary_encode()
        columns[CONTEXT + feature.name] = column
    return pa.table(columns)


def _with_negatives(examples: pa.Table, spec: DatasetSpec) -> pa.Table:
    """Add sampled negatives to a log of positives only, if the spec asks for them."""
    if spec.negatives is None:
        return examples
    return sample_negatives(examples, spec.negatives.per_positive)


def _show_examples(bad: pa.Table) -> str:
    first = bad.slice(0, _EXAMPLES_SHOWN).to_pylist()
    return ", ".join(f"line {row['line']} ({row['reason']})" for row in first)


def _summary(checked: _Checked, files: _Files) -> Json:
    examples, superseded, quarantine = (
        checked.tables[name] for name in ("ratings", "superseded", "quarantine")
    )
    names = [file.path.name for file in files.interactions]
    is_interaction = pc.is_in(quarantine["file"], pa.array(names))
    quarantined = pc.sum(is_interaction).as_py() or 0
    times = pc.min_max(pa.chunked_array([*examples["time"].chunks, *superseded["time"].chunks]))
    classes = pc.value_counts(reason_class(quarantine["reason"])).to_pylist()
    sampled = int(pc.sum(examples["sampled"]).as_py()) if "sampled" in examples.column_names else 0
    observed = len(examples) - sampled
    return {
        "counts": {
            "read": observed + len(superseded) + quarantined,
            "examples": observed,
            "superseded": len(superseded),
            "quarantined": quarantined,
        },
        "sampled_negatives": sampled,
        "quarantined_by_reason": {row["values"]: row["counts"] for row in classes},
        "users": pc.count_distinct(examples["user"]).as_py(),
        "items": pc.count_distinct(examples["item"]).as_py(),
        "first_time": times["min"].as_py(),
        "last_time": times["max"].as_py(),
        "interaction_files": names,
        "absent": [name for name, part in files.others.items() if not part],
    }
