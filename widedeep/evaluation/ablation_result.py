"""What an ablation found: each variant's metrics over its seeds, and the differences to another.

A difference is the mean over the seeds of variant minus reference, each pair trained with the same
seed. It is not taken between averaged predictions: averaging nets is worth about as much as the
differences looked for, to the noisy deep part more than to the wide one, and nobody serves it.

The interval is a paired bootstrap clustered by user, of that mean: a user who is drawn is drawn for
all seeds. It says how much of a difference another holdout might have shown, for these trained
models; the standard deviation over the seeds stands beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.errors import InputError
from widedeep.evaluation.ablation import Variant
from widedeep.evaluation.ablation_slices import Masks
from widedeep.evaluation.bootstrap import Interval, PairedDifference, paired_bootstrap
from widedeep.evaluation.pairing import BOOTSTRAP_SEED
from widedeep.evaluation.scoring import Floats, Predictions
from widedeep.features.training_set import PROTOCOLS


@dataclass(frozen=True, slots=True)
class Scored:
    """A variant's predictions of the holdout, its wide weights that are not 0, and its training.

    One entry a seed, in the same order for all variants. Training took `seconds` in all; the model
    is that of `best_epoch`.
    """

    variant: Variant
    predictions: tuple[Predictions, ...]
    wide_nonzero: tuple[int, ...]
    best_epoch: tuple[int, ...]
    seconds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and sample standard deviation over the seeds (None of a single one)."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise one value a seed."""
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), sd)


@dataclass(frozen=True, slots=True)
class Part:
    """`auc` and `log_loss` on a slice; neither where it has one class only.

    No differences either where most replicates have one class only.
    """

    rows: int
    measured: Mapping[str, Spread]
    differences: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class Difference:
    """Variant minus reference. `auc_sd` is the standard deviation over the seeds' own."""

    auc: Interval
    log_loss: Interval
    auc_sd: float | None


@dataclass(frozen=True, slots=True)
class Result:
    """All of one variant. `differences` by protocol, empty for a variant without reference."""

    variant: Variant
    measured: Mapping[str, Mapping[str, Spread]]
    differences: Mapping[str, Difference]
    slices: Mapping[str, Mapping[str, Part]]
    wide_nonzero: Spread
    best_epoch: Spread
    seconds: Spread

    @classmethod
    def of(cls, scored: Scored, reference: Scored | None, slices: Mapping[str, Masks]) -> Self:
        """Measure the variant, and compare it with the one it is made from."""
        differences = (
            {name: _difference(scored, reference, name) for name in PROTOCOLS} if reference else {}
        )
        parts = {
            name: {
                protocol: _part(scored, reference, protocol, masks[protocol]) for protocol in masks
            }
            for name, masks in slices.items()
        }
        return cls(
            scored.variant,
            _measured(scored.predictions),
            differences,
            parts,
            Spread.of(scored.wide_nonzero),
            Spread.of(scored.best_epoch),
            Spread.of(scored.seconds),
        )

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        names = ("measured", "differences", "slices", "wide_nonzero", "best_epoch", "seconds")
        values = asdict(self)
        return self.variant.as_json() | {name: values[name] for name in names}


def compare(variants: Sequence[Scored], slices: Mapping[str, Masks]) -> list[Result]:
    """The result of each variant; whatever one is compared with is among them."""
    by_name = {scored.variant.name: scored for scored in variants}
    return [
        Result.of(
            scored, by_name[scored.variant.against] if scored.variant.against else None, slices
        )
        for scored in variants
    ]


def mean_auc_difference(
    label: NDArray[np.bool_],
    ours: Sequence[Floats],
    theirs: Sequence[Floats],
    user: NDArray[np.int64],
) -> Interval:
    """The mean over seeds of the AUCs' differences, and its interval; one array (n,) a seed.

    All seeds' rows are ranked together, each seed's scores moved into a band of their own: pairs
    from two bands come out alike for both models and cancel, so what is left is the sum of the
    seeds' own differences, in the data and in every replicate alike.
    """
    seeds = len(ours)
    stacked = [
        np.concatenate([(2 * seed + scores) / (2 * seeds) for seed, scores in enumerate(model)])
        for model in (ours, theirs)
    ]
    found = _bootstrap(label, user, *stacked).auc
    return Interval(seeds * found.difference, seeds * found.low, seeds * found.high)


def mean_log_loss_difference(
    label: NDArray[np.bool_],
    ours: Sequence[Floats],
    theirs: Sequence[Floats],
    user: NDArray[np.int64],
) -> Interval:
    """The same for log loss, which is a mean over rows and so over all seeds' rows, too."""
    stacked = [np.concatenate(model) for model in (ours, theirs)]
    return _bootstrap(label, user, *stacked).log_loss


def _bootstrap(
    label: NDArray[np.bool_], user: NDArray[np.int64], ours: Floats, theirs: Floats
) -> PairedDifference:
    """Compare scores of shape (seeds * n,); a user is the same one in all seeds' rows."""
    seeds = len(ours) // len(label)
    return paired_bootstrap(
        np.tile(label, seeds),
        ours,
        theirs,
        np.tile(user, seeds),
        generator=np.random.default_rng(BOOTSTRAP_SEED),
    )


def _measured(predictions: Sequence[Predictions]) -> dict[str, dict[str, Spread]]:
    """Of each metric that has a value: which have one depends on the rows, not on the seed."""
    found: dict[str, dict[str, Spread]] = {}
    by_seed = [one.measure() for one in predictions]
    for protocol, named in by_seed[0].items():
        found[protocol] = {}
        for metric in named:
            values = [one[protocol][metric] for one in by_seed]
            known = [value for value in values if value is not None]
            if known:
                found[protocol][metric] = Spread.of(known)
    return found


def _difference(ours: Scored, theirs: Scored, protocol: str) -> Difference:
    label, user = ours.predictions[0].label, ours.predictions[0].user
    scores = _scores(ours, protocol), _scores(theirs, protocol)
    by_seed = [metrics.auc(label, a) - metrics.auc(label, b) for a, b in zip(*scores, strict=True)]
    return Difference(
        mean_auc_difference(label, *scores, user),
        mean_log_loss_difference(label, *scores, user),
        Spread.of(by_seed).sd,
    )


def _part(ours: Scored, theirs: Scored | None, protocol: str, mask: NDArray[np.bool_]) -> Part:
    first, rows = ours.predictions[0], int(mask.sum())
    label, user = first.label[mask], first.user[mask]
    if len(set(label.tolist())) < 2:  # noqa: PLR2004  two classes
        return Part(rows, {}, {})
    scores = [one[mask] for one in _scores(ours, protocol)]
    measured = {
        "auc": Spread.of([metrics.auc(label, one) for one in scores]),
        "log_loss": Spread.of([metrics.log_loss(label, one) for one in scores]),
    }
    if theirs is None:
        return Part(rows, measured, {})
    others = [one[mask] for one in _scores(theirs, protocol)]
    try:
        differences = {
            "auc": mean_auc_difference(label, scores, others, user),
            "log_loss": mean_log_loss_difference(label, scores, others, user),
        }
    except InputError:
        return Part(rows, measured, {})
    return Part(rows, measured, differences)


def _scores(scored: Scored, protocol: str) -> list[Floats]:
    return [getattr(one, protocol) for one in scored.predictions]
