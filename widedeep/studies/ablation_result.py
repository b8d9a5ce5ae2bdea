"""What an ablation measured: each variant's metrics over its seeds, and its difference to another.

A difference is the mean over the seeds of variant minus reference, each pair trained with the same
seed. It is not taken between averaged predictions: averaging networks is worth about as much as the
differences looked for, to the noisy deep part more than to the wide one, and averages are never
served.

The interval is a paired bootstrap by user of that mean: a user who is drawn is drawn for all seeds.
It says how much of a difference another holdout might have shown, for these trained models. The
standard deviation over the seeds stands beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.evaluation.bootstrap import (
    BOOTSTRAP_SEED,
    Interval,
    PairedDifference,
    paired_bootstrap,
)
from widedeep.evaluation.scoring import Masks, Predictions
from widedeep.features import PROTOCOLS
from widedeep.inputs import InputError
from widedeep.metrics import Floats
from widedeep.studies.ablation import Variant


@dataclass(frozen=True, slots=True)
class ScoredVariant:
    """A variant's predictions and training, one entry for each seed.

    Attributes:
        variant: The variant.
        predictions: Predictions of the holdout; the seeds are in the same order for all variants.
        wide_nonzero: Number of wide weights that are not 0.
        best_epoch: The epoch that was chosen.
        seconds: Seconds of the whole training.
    """

    variant: Variant
    predictions: tuple[Predictions, ...]
    wide_nonzero: tuple[int, ...]
    best_epoch: tuple[int, ...]
    seconds: tuple[float, ...]

    def scores(self, protocol: str) -> list[Floats]:
        """Return each seed's probabilities under a protocol, (n,) each."""
        return [getattr(predictions, protocol) for predictions in self.predictions]


@dataclass(frozen=True, slots=True)
class SeedSpread:
    """Mean and sample standard deviation over the seeds (None of a single one)."""

    mean: float
    sd: float | None

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Self:
        """Summarise the values, one for each seed."""
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), sd)


@dataclass(frozen=True, slots=True)
class SliceResult:
    """AUC and log loss of a variant on a slice, by metric name.

    `measured` is empty where the slice has one class only; `differences` also where the variant has
    no reference, or most replicates have one class only.
    """

    rows: int
    measured: Mapping[str, SeedSpread]
    differences: Mapping[str, Interval]


@dataclass(frozen=True, slots=True)
class VariantDifference:
    """Variant minus reference; `auc_sd` is the standard deviation of the seeds' differences."""

    auc: Interval
    log_loss: Interval
    auc_sd: float | None


@dataclass(frozen=True, slots=True)
class VariantResult:
    """Everything measured of one variant.

    Attributes:
        variant: The variant.
        measured: Metrics on the whole holdout, by protocol and name.
        differences: Differences to the reference by protocol; empty without a reference.
        slices: Results by slice and protocol.
        wide_nonzero: Number of wide weights that are not 0.
        best_epoch: The epoch that was chosen.
        seconds: Seconds of training.
    """

    variant: Variant
    measured: Mapping[str, Mapping[str, SeedSpread]]
    differences: Mapping[str, VariantDifference]
    slices: Mapping[str, Mapping[str, SliceResult]]
    wide_nonzero: SeedSpread
    best_epoch: SeedSpread
    seconds: SeedSpread

    @classmethod
    def compute(
        cls, scored: ScoredVariant, reference: ScoredVariant | None, slices: Mapping[str, Masks]
    ) -> Self:
        """Measure a variant, and compare it with its reference if it has one."""
        differences = (
            {protocol: _difference(scored, reference, protocol) for protocol in PROTOCOLS}
            if reference
            else {}
        )
        slice_results = {
            name: {
                protocol: _slice_result(scored, reference, protocol, mask)
                for protocol, mask in masks.items()
            }
            for name, masks in slices.items()
        }
        return cls(
            scored.variant,
            _measure(scored.predictions),
            differences,
            slice_results,
            SeedSpread.from_values(scored.wide_nonzero),
            SeedSpread.from_values(scored.best_epoch),
            SeedSpread.from_values(scored.seconds),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the variant's description and results as JSON values."""
        names = ("measured", "differences", "slices", "wide_nonzero", "best_epoch", "seconds")
        values = asdict(self)
        return self.variant.as_json() | {name: values[name] for name in names}


def variant_results(
    variants: Sequence[ScoredVariant], slices: Mapping[str, Masks]
) -> list[VariantResult]:
    """Return the result of each variant; the references have to be among the variants."""
    by_name = {scored.variant.name: scored for scored in variants}
    return [
        VariantResult.compute(
            scored, by_name[scored.variant.against] if scored.variant.against else None, slices
        )
        for scored in variants
    ]


def mean_auc_difference(
    label: NDArray[np.bool_],
    variant: Sequence[Floats],
    reference: Sequence[Floats],
    user: NDArray[np.int64],
) -> Interval:
    """Return the mean over the seeds of the differences of AUC, with its interval.

    All seeds' rows are ranked together, each seed's scores moved into a band of their own: pairs
    from two bands come out alike for both models and cancel, so what is left is the sum of the
    seeds' own differences, in the data and in every replicate alike.

    Args:
        label: (n,) bool.
        variant: Probabilities, float64 (n,) for each seed.
        reference: The same for the reference, with the seeds in the same order.
        user: (n,) int64 user ids.
    """
    seeds = len(variant)
    stacked = [
        np.concatenate([(2 * seed + scores) / (2 * seeds) for seed, scores in enumerate(model)])
        for model in (variant, reference)
    ]
    auc = _bootstrap(label, user, *stacked).auc
    return Interval(seeds * auc.difference, seeds * auc.low, seeds * auc.high)


def mean_log_loss_difference(
    label: NDArray[np.bool_],
    variant: Sequence[Floats],
    reference: Sequence[Floats],
    user: NDArray[np.int64],
) -> Interval:
    """Return the mean over the seeds of the differences of log loss, with its interval.

    Log loss is a mean over rows, and so it is a mean over all seeds' rows, too. The arguments are
    those of `mean_auc_difference`: (n,) arrays, of probabilities one for each seed.
    """
    stacked = [np.concatenate(model) for model in (variant, reference)]
    return _bootstrap(label, user, *stacked).log_loss


def _bootstrap(
    label: NDArray[np.bool_], user: NDArray[np.int64], variant: Floats, reference: Floats
) -> PairedDifference:
    """Compare scores of shape (seeds * n,); a user is the same one in all seeds' rows."""
    seeds = len(variant) // len(label)
    return paired_bootstrap(
        np.tile(label, seeds),
        variant,
        reference,
        np.tile(user, seeds),
        generator=np.random.default_rng(BOOTSTRAP_SEED),
    )


def _measure(predictions: Sequence[Predictions]) -> dict[str, dict[str, SeedSpread]]:
    """Summarise each metric that has a value: which have one depends on the rows, not the seed."""
    by_seed = [seed.measure() for seed in predictions]
    measured: dict[str, dict[str, SeedSpread]] = {}
    for protocol, names in by_seed[0].items():
        measured[protocol] = {}
        for name in names:
            values = [metric for seed in by_seed if (metric := seed[protocol][name]) is not None]
            if values:
                measured[protocol][name] = SeedSpread.from_values(values)
    return measured


def _difference(
    scored: ScoredVariant, reference: ScoredVariant, protocol: str
) -> VariantDifference:
    label, user = scored.predictions[0].label, scored.predictions[0].user
    pair = scored.scores(protocol), reference.scores(protocol)
    by_seed = [metrics.auc(label, a) - metrics.auc(label, b) for a, b in zip(*pair, strict=True)]
    return VariantDifference(
        mean_auc_difference(label, *pair, user),
        mean_log_loss_difference(label, *pair, user),
        SeedSpread.from_values(by_seed).sd,
    )


def _slice_result(
    scored: ScoredVariant, reference: ScoredVariant | None, protocol: str, mask: NDArray[np.bool_]
) -> SliceResult:
    rows = int(mask.sum())
    label, user = scored.predictions[0].label[mask], scored.predictions[0].user[mask]
    if len(set(label.tolist())) < 2:  # noqa: PLR2004  two classes
        return SliceResult(rows, {}, {})
    scores = [seed[mask] for seed in scored.scores(protocol)]
    measured = {
        "auc": SeedSpread.from_values([metrics.auc(label, seed) for seed in scores]),
        "log_loss": SeedSpread.from_values([metrics.log_loss(label, seed) for seed in scores]),
    }
    if reference is None:
        return SliceResult(rows, measured, {})
    reference_scores = [seed[mask] for seed in reference.scores(protocol)]
    try:
        differences = {
            "auc": mean_auc_difference(label, scores, reference_scores, user),
            "log_loss": mean_log_loss_difference(label, scores, reference_scores, user),
        }
    except InputError:  # most replicates have one class only
        return SliceResult(rows, measured, {})
    return SliceResult(rows, measured, differences)
