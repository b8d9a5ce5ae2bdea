"""Check a folder of data before it is learned from: named checks with counts and examples.

`check` reads all rows, as ingest does, and writes nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from widedeep.data.columns import SAMPLE_ROWS, Column, tells
from widedeep.data.dataset import (
    SPEC_FILE,
    DatasetSpec,
    Feature,
    FeatureType,
    Side,
    load_spec,
)
from widedeep.data.describe import describe
from widedeep.data.files import DataFile, open_table
from widedeep.data.ids import Keys, TextIds
from widedeep.data.ingest import MAXIMUM_BAD_SHARE, check_locally, unit_of
from widedeep.data.side_tables import AttributeRows, check_side_files
from widedeep.data.split import MINIMUM_ROWS, Split
from widedeep.data.validation import IN_FUTURE, InteractionRules, reason_class
from widedeep.inputs import InputError, to_iso

EXAMPLES = 10
"""Examples that a check shows at most."""

_YEAR_1980, _YEAR_2100 = 315_532_800, 4_102_444_800
_SANE_SHARE = 0.01
_SUSPICIOUS, _TELLS_LABEL = 0.95, 0.98
_MOST_MISSING = 0.5


FeatureCheck = Callable[[DatasetSpec], tuple[str, int]]
"""Returns a sentence on the features that a model reads of a data set, and their number."""


class Status(StrEnum):
    """How a check ended; only a failed one stops a retrain."""

    PASS = "PASS"  # noqa: S105  no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one named check.

    Attributes:
        name: Of the check.
        status: PASS, WARN or FAIL.
        message: What was found, in one sentence.
        count: How many rows or values it is about.
        examples: Some of them, as text.
    """

    name: str
    status: Status
    message: str
    count: int = 0
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The checks of one folder, and how it is known what the data mean."""

    folder: Path
    form: str
    results: tuple[CheckResult, ...]

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [result.name for result in self.results if result.status is Status.FAIL]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep check --json` prints."""
        checks = [asdict(result) for result in self.results]
        return {
            "folder": str(self.folder),
            "form": self.form,
            "failed": self.failed,
            "checks": checks,
        }

    def refuse_failures(self) -> None:
        """Raise InputError if a check failed."""
        if self.failed:
            raise InputError(
                f"{len(self.failed)} checks failed: {', '.join(self.failed)}; correct the data or "
                f"{self.folder / SPEC_FILE}"
            )


def check_folder(folder: Path, now: int, check_features: FeatureCheck) -> CheckReport:
    """Check the data in a folder by its `dataset.toml`, or else by what describing it says.

    Args:
        folder: The data.
        now: UNIX seconds; later interactions are in the future.
        check_features: Returns how many features a model reads of the data, and says what they are;
            raises InputError if they cannot be made.

    Raises:
        InputError: The file contradicts itself, or the folder cannot be described.
    """
    if (folder / SPEC_FILE).exists():
        spec, form = load_spec(folder), f"its {SPEC_FILE}"
    else:
        description = describe(folder)
        spec, form = description.spec, f"recognised as {description.form}"
    try:
        features = CheckResult("features", Status.PASS, *check_features(spec))
    except InputError as error:
        features = CheckResult("features", Status.FAIL, str(error), 1)
    return CheckReport(folder.resolve(), form, (features, *check(folder, spec, now)))


def check(folder: Path, spec: DatasetSpec, now: int) -> list[CheckResult]:
    """Check the data in a folder against what its spec says.

    Args:
        folder: The data.
        spec: What they mean.
        now: UNIX seconds; later interactions are in the future.

    Returns:
        The outcome of each check; after a file that cannot be read there are no others.
    """
    try:
        data = _Data.read(folder, spec, now)
    except InputError as error:
        return [CheckResult("files", Status.FAIL, str(error), 1)]
    files = CheckResult("files", Status.PASS, f"{data.files} files with all columns")
    return [files, *data.results()]


@dataclass(frozen=True)
class _Data:
    """All rows of a data set, checked one by one."""

    spec: DatasetSpec
    side: AttributeRows
    good: pa.Table
    bad: pa.Table
    texts: TextIds
    rows: int
    files: int
    now: int

    @classmethod
    def read(cls, folder: Path, spec: DatasetSpec, now: int) -> "_Data":
        """Read all files; raise InputError if one cannot be read."""
        names = [name for name in spec.named_tables if name != "interactions"]
        others = {name: open_table(spec, name, folder) for name in names}
        side = check_side_files(spec, others)
        interactions = open_table(spec, "interactions", folder)
        checks = [c for file in interactions for c in check_locally(file, _rules(file, spec, now))]
        texts = pa.concat_tables([side.texts, *(c.texts for c in checks)])
        texts = texts.group_by(["key", "id"]).aggregate([])
        good = pa.concat_tables([c.good for c in checks])
        if spec.interactions.user is None:
            good = good.append_column("user", pa.array(-2 - np.arange(len(good))))
        return cls(
            spec,
            side,
            good,
            pa.concat_tables([c.bad for c in checks]),
            TextIds.from_table(texts["key"].to_numpy(), texts["id"].to_pylist()),
            sum(file.count_rows() for file in interactions),
            len(interactions) + sum(map(len, others.values())),
            now,
        )

    def results(self) -> Iterator[CheckResult]:
        """Yield the outcome of each check."""
        yield self._bad_rows()
        yield from self._keys()
        if not len(self.good):
            return
        yield from self._references()
        yield self._label()
        yield self._time()
        yield from self._repeats()
        yield from self._leaks()
        yield from self._changes()
        yield self._missing()
        yield self._split()

    def _bad_rows(self) -> CheckResult:
        share = len(self.bad) / max(self.rows, 1)
        examples = _lines(self.bad)
        classes = pc.value_counts(reason_class(self.bad["reason"])).to_pylist()
        kinds = ", ".join(f"{row['values']} ({row['counts']:,})" for row in classes[:EXAMPLES])
        if share > MAXIMUM_BAD_SHARE:
            message = f"{share:.1%} of {self.rows:,} rows cannot be used: {kinds}"
            future = pc.sum(pc.match_substring(self.bad["reason"], IN_FUTURE)).as_py() or 0
            if future > len(self.bad) / 2:
                message += '; are the times in milliseconds? Then say time_unit = "ms"'
            return CheckResult("rows", Status.FAIL, message, len(self.bad), examples)
        if len(self.bad):
            message = f"{len(self.bad):,} of {self.rows:,} rows would be set aside: {kinds}"
            return CheckResult("rows", Status.WARN, message, len(self.bad), examples)
        return CheckResult("rows", Status.PASS, f"all {self.rows:,} rows can be used", self.rows)

    def _keys(self) -> Iterator[CheckResult]:
        """Check the rows of items, users and other tables, whose ids must be unique."""
        if not self.side.good:
            return
        bad = pa.concat_tables(self.side.bad)
        count = sum(map(len, self.side.good.values()))
        if not len(bad):
            yield CheckResult("keys", Status.PASS, f"{count:,} rows of other tables, ids unique")
            return
        message = f"{len(bad):,} rows of other tables would be set aside"
        yield CheckResult("keys", Status.WARN, message, len(bad), _lines(bad))

    def _references(self) -> Iterator[CheckResult]:
        for side, name in ((Side.ITEM, "items"), (Side.USER, "users")):
            if name not in self.side.good:
                continue
            known = self.side.good[name]["key"].to_numpy()
            met = np.unique(self.good[side.value].to_numpy())
            lost = np.setdiff1d(met, known)
            share = len(lost) / max(len(met), 1)
            message = f"{len(met) - len(lost):,} of {len(met):,} {name} are in their table"
            status = Status.PASS if not len(lost) else Status.WARN
            status = Status.FAIL if share > _MOST_MISSING else status
            if len(lost):
                message += f"; {len(lost):,} are not, so their attributes are missing"
            yield CheckResult(f"{name} resolve", status, message, len(lost), self._ids(lost))

    def _ids(self, keys: Keys) -> tuple[str, ...]:
        return tuple(str(self.texts.text(key)) for key in keys[:EXAMPLES].tolist())

    def _label(self) -> CheckResult:
        label = self.good["label"].to_numpy()
        share = float(label.mean())
        message = f"{self.spec.label}: {share:.1%} of {len(label):,} rows are positive"
        if self.spec.negatives is not None:
            return CheckResult("label", Status.PASS, f"{message}; negatives are sampled")
        if share in {0.0, 1.0}:
            return CheckResult("label", Status.FAIL, f"{message}; expected both classes")
        sane = _SANE_SHARE <= share <= 1 - _SANE_SHARE
        return CheckResult("label", Status.PASS if sane else Status.WARN, message, int(label.sum()))

    def _time(self) -> CheckResult:
        time = self.good["time"].to_numpy()
        span = f"from {to_iso(int(time.min()))} to {to_iso(int(time.max()))}"
        implausible = (time < _YEAR_1980) | (time > _YEAR_2100)
        examples = tuple(map(str, time[implausible][:EXAMPLES].tolist()))
        count = int(implausible.sum())
        if count > len(time) / 2:
            message = f"{span}: not the times of data; is the unit right, or are they cut short?"
            return CheckResult("time", Status.FAIL, message, count, examples)
        if count:
            message = f"{span}; {count:,} rows lie before 1980"
            return CheckResult("time", Status.WARN, message, count, examples)
        return CheckResult("time", Status.PASS, span, len(time))

    def _repeats(self) -> Iterator[CheckResult]:
        frame = self.good.select(["user", "item", "time", "label", "value"]).to_pandas()
        exact = frame.duplicated()
        pairs = frame.duplicated(["user", "item"])
        examples = self._pairs(frame[exact])
        status = Status.WARN if exact.any() else Status.PASS
        yield CheckResult(
            "duplicates", status, f"{exact.sum():,} exact duplicates", int(exact.sum()), examples
        )
        count, policy = int(pairs.sum()), self.spec.interactions.repeats
        what = "superseded" if policy == "first" else "examples, too"
        doubtful = policy == "first" and count > len(frame) / 4
        yield CheckResult(
            "repeats",
            Status.WARN if doubtful else Status.PASS,
            f'{count:,} rows repeat a user and an item; with repeats = "{policy}" they are {what}',
            count,
            self._pairs(frame[pairs]) if doubtful else (),
        )

    def _pairs(self, frame: pd.DataFrame) -> tuple[str, ...]:
        return tuple(
            f"user {self.texts.text(user)}, item {self.texts.text(item)}, {to_iso(time)}"
            for user, item, time in frame[["user", "item", "time"]].head(EXAMPLES).to_numpy(int)
        )

    def _leaks(self) -> Iterator[CheckResult]:
        """Yield a check for each column of the interactions that alone tells the label."""
        sample = self.good.slice(0, SAMPLE_ROWS)
        label, suspects = sample["label"].to_numpy(), 0
        for feature in self._in_interactions(Side.CONTEXT):
            column = sample[feature.name].cast(pa.string())
            area = tells(Column(feature.name, column), label)
            if area > _SUSPICIOUS:
                suspects += 1
                status = Status.FAIL if area > _TELLS_LABEL else Status.WARN
                message = (
                    f"{feature.name} alone tells the label with AUC {area:.3f}; was it known "
                    "before the interaction?"
                )
                yield CheckResult("leakage", status, message, 1, (feature.name,))
        if not suspects:
            yield CheckResult("leakage", Status.PASS, "no column alone tells the label")

    def _in_interactions(self, *sides: Side) -> list[Feature]:
        return [
            feature
            for feature in self.spec.features
            if feature.table == "interactions" and feature.side in sides
        ]

    def _changes(self) -> Iterator[CheckResult]:
        """Yield a check for each attribute in the interactions, which should not change."""
        for feature in self._in_interactions(Side.ITEM, Side.USER):
            if feature.type is FeatureType.BAG:
                continue
            side = feature.side.value
            frame = self.good.select([side, feature.name]).to_pandas().dropna()
            values = frame.drop_duplicates().groupby(side).size()
            changing = values.index[values > 1].to_numpy()
            message = f"{feature.name} changes for {len(changing):,} of {len(values):,} {side}s"
            if len(changing):
                message += "; the first value counts. If it may change, leave out side"
            status = Status.WARN if len(changing) else Status.PASS
            name = f"{feature.name} constant"
            yield CheckResult(name, status, message, len(changing), self._ids(changing))

    def _missing(self) -> CheckResult:
        shares = {}
        for feature in self.spec.features:
            table = self.good if feature.table == "interactions" else None
            if feature.table in ("items", "users"):
                table = self.side.good.get(feature.table)
            if table is not None and feature.type is not FeatureType.BAG and len(table):
                shares[feature.name] = table[feature.name].null_count / len(table)
        much = {name: share for name, share in shares.items() if share > _MOST_MISSING}
        examples = tuple(f"{name}: {share:.1%}" for name, share in sorted(much.items()))
        if much:
            message = f"{len(much)} features are missing in more than half of the rows"
            return CheckResult("missing values", Status.WARN, message, len(much), examples)
        worst = max(shares.values(), default=0.0)
        return CheckResult("missing values", Status.PASS, f"at most {worst:.1%} of a feature")

    def _split(self) -> CheckResult:
        frame = self.good.select(["user", "item", "time", "label"]).to_pandas()
        frame = frame.sort_values("time", kind="stable")
        if self.spec.interactions.repeats == "first":
            frame = frame.drop_duplicates(["user", "item"])
        time, label = frame["time"].to_numpy(), frame["label"].to_numpy()
        try:
            split = Split.from_times(time, int(time.max()) + 1)
            if self.spec.negatives is None:
                split.check(time, label)
        except InputError as error:
            message = f"{error}; at least {MINIMUM_ROWS} rows a part are needed"
            return CheckResult("split", Status.FAIL, message, len(frame))
        return CheckResult("split", Status.PASS, split.to_text(), len(frame))


def _rules(file: DataFile, spec: DatasetSpec, now: int) -> InteractionRules:
    unit = spec.interactions.time_unit or unit_of(file, spec)
    return InteractionRules(spec, None, "", now, unit)


def _lines(bad: pa.Table) -> tuple[str, ...]:
    rows = bad.slice(0, EXAMPLES).to_pylist()
    return tuple(f"{row['file']} line {row['line']}: {row['reason']}" for row in rows)
