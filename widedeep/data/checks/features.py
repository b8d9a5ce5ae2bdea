"""Checks of features: none tells the label or the future, changes, or is mostly missing."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.checks.result import EXAMPLES, CheckResult, Status
from widedeep.data.checks.rows import CheckedRows
from widedeep.data.dataset import Feature, FeatureType, Side
from widedeep.data.profile.columns import Column
from widedeep.data.profile.leakage import Leak, LeakProbes

_BAG = FeatureType.BAG
_MOST_MISSING = 0.5


def check_features(data: CheckedRows) -> Iterator[CheckResult]:
    """Yield the outcome of each check of the features; there is a good interaction."""
    yield _leakage(data)
    yield from _changes(data)
    yield _missing(data)


def _leakage(data: CheckedRows) -> CheckResult:
    """Check each feature: none may tell the label alone, or the future."""
    sample = data.sample
    probes = LeakProbes(sample["label"].to_numpy(), sample["time"].to_numpy())
    features = [f for f in data.spec.features if f.source != "time" and f.type is not _BAG]
    leaks = {f.name: leak for f in features if (leak := _leak(data, probes, f)) is not None}
    examples = tuple(f"{name} {leak.reason}" for name, leak in leaks.items())[:EXAMPLES]
    if not leaks:
        message = f"none of {len(features)} columns alone tells the label or the future"
        return CheckResult("leakage", Status.PASS, message, len(features))
    certain = any(leak.auc is not None and leak.certain for leak in leaks.values())
    message = f"{'; '.join(examples[:3])}. If it is not known before the interaction, leave it out"
    status = Status.FAIL if certain else Status.WARN
    return CheckResult("leakage", status, message, len(leaks), examples)


def _leak(data: CheckedRows, probes: LeakProbes, feature: Feature) -> Leak | None:
    """Return how a feature tells the label or the future."""
    side = feature.side
    if side is Side.CONTEXT:
        return probes.of_context(_column(feature, data.sample[feature.name]))
    table = data.attributes[side]
    column = _column(feature, table[feature.name])
    keys, owners = table[side.value].to_numpy(), data.sample[side.value].to_numpy()
    dated = feature.type is FeatureType.AGE
    return probes.of_attribute(column, side.value, keys, owners, dated=dated)


def _column(feature: Feature, values: pa.ChunkedArray) -> Column:
    return Column(feature.name, values.cast(pa.string()))


def _changes(data: CheckedRows) -> Iterator[CheckResult]:
    """Check that each attribute in the interactions stays as it is from row to row."""
    for feature in data.spec.features:
        if feature.table != "interactions" or feature.side is Side.CONTEXT:
            continue
        name, side = feature.name, feature.side.value
        owners = np.unique(data.good[side].to_numpy())
        changing = _changing_owners(data, feature)
        message = f"{name} changes for {len(changing):,} of {len(owners):,} {side}s"
        if len(changing):
            message += "; the first value counts. If it may change, leave out side: it is context"
        status = Status.WARN if len(changing) else Status.PASS
        examples = tuple(data.show(changing[:EXAMPLES]))
        yield CheckResult(f"{name} constant", status, message, len(changing), examples)


def _changing_owners(data: CheckedRows, feature: Feature) -> NDArray[np.int64]:
    """Return the users or items with several values of an attribute, (m,)."""
    values = data.good[feature.name]
    if feature.type is _BAG:
        values = pc.binary_join(values, "|")
    owners = data.good[feature.side.value].to_numpy()
    frame = pd.DataFrame({"owner": owners, "value": values.to_pandas()}).dropna()
    counts = frame.drop_duplicates().groupby("owner").size()
    changing: NDArray[np.int64] = counts.index[counts > 1].to_numpy()
    return changing


def _missing(data: CheckedRows) -> CheckResult:
    """Check how many users, items or interactions lack each feature."""
    shares = {
        feature.name: _missing_share(data, feature)
        for feature in data.spec.features
        if feature.source != "time"
    }
    shown = sorted(shares.items(), key=lambda entry: -entry[1])
    examples = tuple(f"{name}: {share:.1%}" for name, share in shown if share)[:EXAMPLES]
    much = [name for name, share in shares.items() if share > _MOST_MISSING]
    if much:
        names = ", ".join(much)
        message = f"{len(much)} features are missing in more than half of the rows: {names}"
        return CheckResult("missing values", Status.WARN, message, len(much), examples)
    message = f"at most {max(shares.values(), default=0.0):.1%} of a feature's values are missing"
    return CheckResult("missing values", Status.PASS, message, len(shares), examples)


def _missing_share(data: CheckedRows, feature: Feature) -> float:
    """Return the share of users, items or interactions without a value."""
    context = feature.side is Side.CONTEXT
    column = (data.good if context else data.attributes[feature.side])[feature.name]
    missing = column.null_count
    if pa.types.is_list(column.type):
        missing += int(pc.sum(pc.equal(pc.list_value_length(column), 0)).as_py() or 0)
    return float(missing / max(len(column), 1))
