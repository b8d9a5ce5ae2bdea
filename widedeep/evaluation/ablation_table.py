"""An ablation for people (tables of text) and for programs (rows of numbers)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from widedeep.evaluation.ablation_result import Difference, Part, Result, Spread
from widedeep.evaluation.bootstrap import Interval
from widedeep.evaluation.markdown import markdown_table
from widedeep.features.training_set import FROZEN, PROTOCOLS, STREAMING

NOTE = (
    "Means over the seeds (± their standard deviation). A difference is variant minus the wide & "
    "deep model of the same features, seed by seed, with the 95 % interval of a paired bootstrap "
    "by user of the seeds' mean difference. Where AUC differs by more than 0 the variant is better."
)

METRICS = {"auc": "AUC", "log_loss": "log loss"}
"""What differences are taken of, and their names for people."""

_COLUMNS: dict[str, dict[str, str]] = {
    STREAMING: {"log loss": "log_loss", "ECE": "ece"},
    FROZEN: {"log loss": "log_loss", "ECE": "ece", "GAUC": "gauc"},
}


@dataclass(frozen=True, slots=True)
class Table:
    """Cells, one tuple a row, under `columns`; the first `words` of them are no figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1

    def as_markdown(self) -> str:
        """A table in Markdown under a heading."""
        return f"### {self.title}\n\n" + markdown_table(self.columns, self.rows, self.words)


def tables(results: Sequence[Result]) -> list[Table]:
    """The whole holdout under each protocol, and costs."""
    return [*(_whole(protocol, results) for protocol in PROTOCOLS), _costs(results)]


def slice_tables(protocol: str, results: Sequence[Result]) -> list[Table]:
    """Differences on the slices of the holdout: of AUC, and of log loss."""
    counts = {name: parts[protocol].rows for name, parts in results[0].slices.items()}
    columns = ("variant", *(f"{name} ({rows:,})" for name, rows in counts.items()))
    found = []
    for metric, title in METRICS.items():
        rows = tuple(
            (result.variant.name, *(_part_text(result, name, protocol, metric) for name in counts))
            for result in results
        )
        found.append(Table(f"{title} by slice (rows), {protocol} history", columns, rows))
    return found


def numbers(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row of unrounded numbers for each variant."""
    return [_numbers(result) for result in results]


def slice_numbers(results: Sequence[Result]) -> list[dict[str, Any]]:
    """A row of unrounded numbers for each variant, slice and protocol."""
    return [
        {
            "variant": result.variant.name,
            "slice": name,
            "protocol": protocol,
            "rows": part.rows,
            **_part_numbers(part),
        }
        for result in results
        for name, parts in result.slices.items()
        for protocol, part in parts.items()
    ]


def _whole(protocol: str, results: Sequence[Result]) -> Table:
    metrics = _COLUMNS[protocol]
    rows = tuple(
        (
            result.variant.name,
            spread_text(result.measured[protocol]["auc"]),
            _difference_text(result.differences.get(protocol), lambda one: one.auc),
            *(_mean(result.measured[protocol], metric) for metric in metrics.values()),
            _difference_text(result.differences.get(protocol), lambda one: one.log_loss),
        )
        for result in results
    )
    columns = ("variant", "AUC", "difference of AUC", *metrics, "difference of log loss")
    return Table(f"{protocol} history", columns, rows)


def _costs(results: Sequence[Result]) -> Table:
    rows = tuple(
        (
            result.variant.name,
            result.variant.sentence,
            f"{result.wide_nonzero.mean:,.0f}",
            f"{result.best_epoch.mean:.1f} of {result.variant.preset.training.epochs}",
            f"{result.seconds.mean:.1f}",
        )
        for result in results
    )
    columns = ("variant", "what differs", "wide weights", "best epoch", "training s")
    title = (
        "size (wide weights that are not 0) and training (unfinished where the last epoch is best)"
    )
    return Table(title, columns, rows, words=2)


def spread_text(spread: Spread) -> str:
    """Mean ± standard deviation, the latter where there are several seeds."""
    sd = "" if spread.sd is None else f" ± {_figure(spread.sd)}"
    return f"{_figure(spread.mean)}{sd}"


def interval_text(interval: Interval) -> str:
    """Difference and the ends of its interval."""
    ends = (interval.difference, interval.low, interval.high)
    return "{} [{}, {}]".format(*(_figure(end, "+") for end in ends))


def _difference_text(
    difference: Difference | None, chosen: Callable[[Difference], Interval]
) -> str:
    return "" if difference is None else interval_text(chosen(difference))


def _part_text(result: Result, name: str, protocol: str, metric: str) -> str:
    part = result.slices[name][protocol]
    if metric not in part.measured:
        return "one class only"
    if metric in part.differences:
        return interval_text(part.differences[metric])
    return "" if result.variant.against else _figure(part.measured[metric].mean)


def _mean(measured: Mapping[str, Spread], metric: str) -> str:
    return _figure(measured[metric].mean) if metric in measured else "-"


def _figure(value: float, sign: str = "") -> str:
    """Four decimals without the zero before them."""
    return f"{value:{sign}.4f}".replace("0.", ".", 1)


def _numbers(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = dict(result.variant.as_json())
    for protocol in PROTOCOLS:
        for metric, spread in result.measured[protocol].items():
            row |= _spread(f"{protocol}_{metric}", spread)
        row |= _difference(protocol, result.differences.get(protocol))
    for name in ("wide_nonzero", "best_epoch", "seconds"):
        row |= _spread(name, getattr(result, name))
    return row


def _difference(protocol: str, found: Difference | None) -> dict[str, float | None]:
    auc, log_loss = (found.auc, found.log_loss) if found else (None, None)
    return {
        **_interval(f"{protocol}_auc_difference", auc),
        f"{protocol}_auc_difference_sd": found.auc_sd if found else None,
        **_interval(f"{protocol}_log_loss_difference", log_loss),
    }


def _part_numbers(part: Part) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for metric in METRICS:
        row |= _spread(metric, part.measured.get(metric))
        row |= _interval(f"{metric}_difference", part.differences.get(metric))
    return row


def _spread(name: str, spread: Spread | None) -> Mapping[str, float | None]:
    return {name: spread.mean if spread else None, f"{name}_sd": spread.sd if spread else None}


def _interval(name: str, interval: Interval | None) -> Mapping[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    ends = (interval.difference, interval.low, interval.high) if interval else (None,) * 3
    return dict(zip(names, ends, strict=True))
