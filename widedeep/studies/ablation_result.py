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
from widedeep.evaluation.bootstrap import Interval, PairedDifference, paired_bootstrap
from widedeep.evaluation.gate import BOOTSTRAP_SEED
from widedeep.evaluation.scoring import Floats, Predictions
from widedeep.features.training_data import PROTOCOLS
from widedeep.inputs import InputError
from widedeep.studies.ablation import Masks, Variant


@dataclass(frozen=True, slots=True)
class ScoredVariant:
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
class SeedSpread:
    """Mean and sample standard deviation over the seeds (None of a single one)."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Summarise one value a seed."""
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), sd)


@dataclass(frozen=True, slots=True)
class SliceResult:
    """`auc` and `log_loss` on a slice; neither where it has one class only.

    No differences either where most replicates have one class only.
    """

    rows: int
    measured: Mapping[str, SeedSpread]
    differences: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class VariantDifference:
    """Variant minus reference. `auc_sd` is the standard deviation over the seeds' own."""

    auc: Interval
    log_loss: Interval
    auc_sd: float | None


@dataclass(frozen=True, slots=True)
class VariantResult:
    """All of one variant. `differences` by protocol, empty for a variant without reference."""

    variant: Variant
    measured: Mapping[str, Mapping[str, SeedSpread]]
    differences: Mapping[str, VariantDifference]
    slices: Mapping[str, Mapping[str, SliceResult]]
    wide_nonzero: SeedSpread
    best_epoch: SeedSpread
    seconds: SeedSpread

    @classmethod
    def of(
        cls, scored: ScoredVariant, reference: ScoredVariant | None, slices: Mapping[str, Masks]
    ) -> Self:
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
            SeedSpread.of(scored.wide_nonzero),
            SeedSpread.of(scored.best_epoch),
            SeedSpread.of(scored.seconds),
        )

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        names = ("measured", "differences", "slices", "wide_nonzero", "best_epoch", "seconds")
        values = asdict(self)
        return self.variant.as_json() | {name: values[name] for name in names}


def variant_results(
    variants: Sequence[ScoredVariant], slices: Mapping[str, Masks]
) -> list[VariantResult]:
    """The result of each variant; whatever one is compared with is among them."""
    by_name = {scored.variant.name: scored for scored in variants}
    return [
        VariantResult.of(
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


def _measured(predictions: Sequence[Predictions]) -> dict[str, dict[str, SeedSpread]]:
    """Of each metric that has a value: which have one depends on the rows, not on the seed."""
    found: dict[str, dict[str, SeedSpread]] = {}
    by_seed = [one.measure() for one in predictions]
    for protocol, named in by_seed[0].items():
        found[protocol] = {}
        for metric in named:
            values = [one[protocol][metric] for one in by_seed]
            known = [value for value in values if value is not None]
            if known:
                found[protocol][metric] = SeedSpread.of(known)
    return found


def _difference(ours: ScoredVariant, theirs: ScoredVariant, protocol: str) -> VariantDifference:
    label, user = ours.predictions[0].label, ours.predictions[0].user
    scores = _scores(ours, protocol), _scores(theirs, protocol)
    by_seed = [metrics.auc(label, a) - metrics.auc(label, b) for a, b in zip(*scores, strict=True)]
    return VariantDifference(
        mean_auc_difference(label, *scores, user),
        mean_log_loss_difference(label, *scores, user),
        SeedSpread.of(by_seed).sd,
    )


def _part(
    ours: ScoredVariant, theirs: ScoredVariant | None, protocol: str, mask: NDArray[np.bool_]
) -> SliceResult:
    first, rows = ours.predictions[0], int(mask.sum())
    label, user = first.label[mask], first.user[mask]
    if len(set(label.tolist())) < 2:  # noqa: PLR2004  two classes
        return SliceResult(rows, {}, {})
    scores = [one[mask] for one in _scores(ours, protocol)]
    measured = {
        "auc": SeedSpread.of([metrics.auc(label, one) for one in scores]),
        "log_loss": SeedSpread.of([metrics.log_loss(label, one) for one in scores]),
    }
    if theirs is None:
        return SliceResult(rows, measured, {})
    others = [one[mask] for one in _scores(theirs, protocol)]
    try:
        differences = {
            "auc": mean_auc_difference(label, scores, others, user),
            "log_loss": mean_log_loss_difference(label, scores, others, user),
        }
    except InputError:
        return SliceResult(rows, measured, {})
    return SliceResult(rows, measured, differences)


def _scores(scored: ScoredVariant, protocol: str) -> list[Floats]:
    return [getattr(one, protocol) for one in scored.predictions]
