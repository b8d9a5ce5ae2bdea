"""From runs to numbers: metrics by seed, paired differences, and the table for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from tests.benchmarks.rankers.run import Run
from widedeep.evaluation.bootstrap import BOOTSTRAP_SEED, PairedDifference, paired_bootstrap
from widedeep.evaluation.scoring import Predictions
from widedeep.features.training_data import FROZEN, PROTOCOLS, STREAMING

REPLICATES = 2000
COLUMNS = (
    (STREAMING, "auc"),
    (STREAMING, "log_loss"),
    (STREAMING, "ece"),
    (FROZEN, "auc"),
    (FROZEN, "log_loss"),
    (FROZEN, "ece"),
    (FROZEN, "gauc"),
)
COMPARED = ("auc", "log_loss")
PARTS = ("holdout", "validation")


@dataclass(frozen=True, slots=True)
class Summary:
    """One ranker on one split. Metrics are lists by seed: part → protocol → metric."""

    metrics: Mapping[str, Mapping[str, Mapping[str, list[float]]]]
    seconds: list[float]
    notes: list[str]
    refitted: bool

    @classmethod
    def of(cls, runs: Sequence[Run]) -> "Summary":
        """Measure every run."""
        measured = {part: [getattr(run, part).measure() for run in runs] for part in PARTS}
        metrics = {
            part: {
                protocol: {
                    metric: [one[protocol][metric] for one in found]
                    for metric in found[0][protocol]
                }
                for protocol in PROTOCOLS
            }
            for part, found in measured.items()
        }
        seconds, notes = [run.seconds for run in runs], [run.note for run in runs]
        return cls(metrics, seconds, notes, runs[0].refitted)


def differences(
    ours: Sequence[Predictions], theirs: Sequence[Predictions]
) -> dict[str, dict[str, PairedDifference]]:
    """Ours minus theirs, by what is compared and by protocol.

    The mean of all seeds' probabilities is a small ensemble, which flatters whoever varies more;
    the models that are served are single ones, so each seed meets its like too.
    """
    pairs = {f"seed {i}": pair for i, pair in enumerate(zip(ours, theirs, strict=True))}
    found = {"mean of seeds": _compare(ours, theirs)}
    return found | {name: _compare([one], [other]) for name, (one, other) in pairs.items()}


def _compare(
    ours: Sequence[Predictions], theirs: Sequence[Predictions]
) -> dict[str, PairedDifference]:
    return {
        protocol: paired_bootstrap(
            ours[0].label,
            np.mean([getattr(one, protocol) for one in ours], axis=0),
            np.mean([getattr(one, protocol) for one in theirs], axis=0),
            ours[0].user,
            generator=np.random.default_rng(BOOTSTRAP_SEED),
            replicates=REPLICATES,
        )
        for protocol in PROTOCOLS
    }


def quality_table(title: str, summaries: Mapping[str, Summary]) -> Table:
    """Mean ± standard deviation over the seeds, the holdout above and validation below."""
    headings = [f"{protocol}\n{metric}" for protocol, metric in COLUMNS]
    table = Table("ranker", *headings, "seconds", title=title, box=SIMPLE_HEAD)
    refitted = [name for name, summary in summaries.items() if summary.refitted]
    table.caption = (
        f"refitted on training + validation for the holdout: {', '.join(refitted) or 'none'}"
    )
    for column in table.columns:
        column.no_wrap = True
    for part in PARTS:
        table.add_row(f"[bold]{part}[/bold]")
        for name, summary in summaries.items():
            found = summary.metrics[part]
            cells = [_spread(found[protocol][metric]) for protocol, metric in COLUMNS]
            table.add_row(name, *cells, f"{mean(summary.seconds):.1f}")
        table.add_section()
    return table


def difference_table(title: str, found: Mapping[str, Mapping[str, PairedDifference]]) -> Table:
    """Differences with the ends of their intervals."""
    headings = [f"{protocol}\n{metric}" for protocol, metric in COLUMNS if metric in COMPARED]
    table = Table("compared", *headings, title=title, box=SIMPLE_HEAD)
    for name, protocols in found.items():
        intervals = [(d.auc, d.log_loss) for d in protocols.values()]
        cells = [
            f"{interval.difference:+.4f} \\[{interval.low:+.4f}, {interval.high:+.4f}]"
            for pair in intervals
            for interval in pair
        ]
        table.add_row(name, *cells)
    return table


def as_json(
    summaries: Mapping[str, Summary], found: Mapping[str, Mapping[str, PairedDifference]] | None
) -> dict[str, Any]:
    """JSON values of one split."""
    intervals = {
        name: {protocol: asdict(difference) for protocol, difference in protocols.items()}
        for name, protocols in (found or {}).items()
    }
    return {
        "rankers": {name: asdict(summary) for name, summary in summaries.items()},
        "wide-deep minus lightgbm": intervals,
    }


def _spread(values: Sequence[float]) -> str:
    numbers = [mean(values), *([stdev(values)] if len(values) > 1 else [])]
    return " ±".join(f"{number:.4f}".removeprefix("0") for number in numbers)
