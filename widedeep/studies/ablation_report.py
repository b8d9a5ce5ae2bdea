"""An ablation as tables to read, as rows of numbers for programs, and as a picture.

`holdout_tables` and `slice_tables` are the tables of the report, `holdout_numbers` and
`slice_numbers` the same unrounded. `draw_ablation` shows what each change costs, and the sparsity
that L1 buys.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from widedeep.evaluation.bootstrap import Interval
from widedeep.evaluation.report import markdown_table
from widedeep.features import FROZEN, PROTOCOLS, STREAMING
from widedeep.studies.ablation_result import (
    SeedSpread,
    SliceResult,
    VariantDifference,
    VariantResult,
)

NOTE = (
    "Means over the seeds (± their standard deviation). A difference is variant minus the wide & "
    "deep model of the same features, seed by seed, with the 95 % interval of a paired bootstrap "
    "by user of the seeds' mean difference. Where AUC differs by more than 0 the variant is better."
)

_METRICS = {"auc": "AUC", "log_loss": "log loss"}
"""Titles of the metrics that have differences."""

_COLUMNS: dict[str, dict[str, str]] = {
    STREAMING: {"log loss": "log_loss", "ECE": "ece"},
    FROZEN: {"log loss": "log_loss", "ECE": "ece", "GAUC": "gauc"},
}


@dataclass(frozen=True, slots=True)
class TextTable:
    """Cells, one tuple for each row, under `columns`; the first `words` columns are text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1

    def as_markdown(self) -> str:
        """Return a Markdown table under a heading."""
        return f"### {self.title}\n\n" + markdown_table(self.columns, self.rows, self.words)


def holdout_tables(results: Sequence[VariantResult]) -> list[TextTable]:
    """Return a table of the whole holdout for each protocol, and one of the costs."""
    return [*(_protocol_table(protocol, results) for protocol in PROTOCOLS), _cost_table(results)]


def slice_tables(protocol: str, results: Sequence[VariantResult]) -> list[TextTable]:
    """Return the differences on each slice of the holdout: a table of AUC, one of log loss."""
    counts = {name: slices[protocol].rows for name, slices in results[0].slices.items()}
    columns = ("variant", *(f"{name} ({rows:,})" for name, rows in counts.items()))
    return [
        TextTable(
            f"{title} by slice (rows), {protocol} history",
            columns,
            tuple(
                (
                    result.variant.name,
                    *(_slice_text(result, name, protocol, metric) for name in counts),
                )
                for result in results
            ),
        )
        for metric, title in _METRICS.items()
    ]


def _protocol_table(protocol: str, results: Sequence[VariantResult]) -> TextTable:
    metrics = _COLUMNS[protocol]
    rows = tuple(
        (
            result.variant.name,
            _spread_text(result.measured[protocol]["auc"]),
            _difference_text(result.differences.get(protocol), lambda difference: difference.auc),
            *(_mean_text(result.measured[protocol], metric) for metric in metrics.values()),
            _difference_text(
                result.differences.get(protocol), lambda difference: difference.log_loss
            ),
        )
        for result in results
    )
    columns = ("variant", "AUC", "difference of AUC", *metrics, "difference of log loss")
    return TextTable(f"{protocol} history", columns, rows)


def _cost_table(results: Sequence[VariantResult]) -> TextTable:
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
    return TextTable(title, columns, rows, words=2)


def _slice_text(result: VariantResult, name: str, protocol: str, metric: str) -> str:
    slice_result = result.slices[name][protocol]
    if metric not in slice_result.measured:
        return "one class only"
    if metric in slice_result.differences:
        return _interval_text(slice_result.differences[metric])
    return "" if result.variant.against else _number_text(slice_result.measured[metric].mean)


def _spread_text(spread: SeedSpread) -> str:
    """Return mean ± standard deviation, the latter where there are several seeds."""
    sd = "" if spread.sd is None else f" ± {_number_text(spread.sd)}"
    return f"{_number_text(spread.mean)}{sd}"


def _difference_text(
    difference: VariantDifference | None, select: Callable[[VariantDifference], Interval]
) -> str:
    return "" if difference is None else _interval_text(select(difference))


def _interval_text(interval: Interval) -> str:
    """Return the difference and the ends of its interval."""
    ends = (interval.difference, interval.low, interval.high)
    return "{} [{}, {}]".format(*(_number_text(end, "+") for end in ends))


def _mean_text(measured: Mapping[str, SeedSpread], metric: str) -> str:
    return _number_text(measured[metric].mean) if metric in measured else "-"


def _number_text(value: float, sign: str = "") -> str:
    """Return four decimals without the zero before the point."""
    return f"{value:{sign}.4f}".replace("0.", ".", 1)


def holdout_numbers(results: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Return a row of unrounded numbers for each variant."""
    return [_variant_numbers(result) for result in results]


def slice_numbers(results: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """Return a row of unrounded numbers for each variant, slice and protocol."""
    return [
        {
            "variant": result.variant.name,
            "slice": name,
            "protocol": protocol,
            "rows": slice_result.rows,
            **_slice_numbers(slice_result),
        }
        for result in results
        for name, by_protocol in result.slices.items()
        for protocol, slice_result in by_protocol.items()
    ]


def _variant_numbers(result: VariantResult) -> dict[str, Any]:
    row: dict[str, Any] = dict(result.variant.as_json())
    for protocol in PROTOCOLS:
        for metric, spread in result.measured[protocol].items():
            row |= _spread_numbers(f"{protocol}_{metric}", spread)
        row |= _difference_numbers(protocol, result.differences.get(protocol))
    for name in ("wide_nonzero", "best_epoch", "seconds"):
        row |= _spread_numbers(name, getattr(result, name))
    return row


def _difference_numbers(
    protocol: str, difference: VariantDifference | None
) -> dict[str, float | None]:
    auc, log_loss = (difference.auc, difference.log_loss) if difference else (None, None)
    return {
        **_interval_numbers(f"{protocol}_auc_difference", auc),
        f"{protocol}_auc_difference_sd": difference.auc_sd if difference else None,
        **_interval_numbers(f"{protocol}_log_loss_difference", log_loss),
    }


def _slice_numbers(slice_result: SliceResult) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for metric in _METRICS:
        row |= _spread_numbers(metric, slice_result.measured.get(metric))
        row |= _interval_numbers(f"{metric}_difference", slice_result.differences.get(metric))
    return row


def _spread_numbers(name: str, spread: SeedSpread | None) -> Mapping[str, float | None]:
    return {name: spread.mean if spread else None, f"{name}_sd": spread.sd if spread else None}


def _interval_numbers(name: str, interval: Interval | None) -> Mapping[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    ends = (interval.difference, interval.low, interval.high) if interval else (None,) * 3
    return dict(zip(names, ends, strict=True))


_COLOURS = {STREAMING: "#1f5fa8", FROZEN: "#c05a1c"}
_WIDTH = 14.0
_PANEL_INCHES, _ROW_INCHES, _CURVE_INCHES = 1.0, 0.32, 3.4
_ROOM = 0.08
"""Share of an axis that is left free beside the outermost end of an interval."""

_Panel = tuple[VariantResult, list[VariantResult]]
"""A reference and the variants that are compared with it."""


def draw_ablation(results: Sequence[VariantResult], title: str, path: Path) -> None:
    """Write a PNG: a row of panels for each reference, streaming and frozen; the curve of L1 below.

    Models trained on other rows stand apart, as their differences are of another order. The two
    protocols of a row of panels share one linear scale, with the zero line in sight.
    """
    panels, points = _panels(results), _curve_points(results)
    heights = [_PANEL_INCHES + _ROW_INCHES * len(members) for _, members in panels]
    heights += [_CURVE_INCHES] if points else []
    figure = Figure(figsize=(_WIDTH, sum(heights) + 0.5), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    rows = figure.subplots(
        len(heights), len(PROTOCOLS), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes, panel in zip(rows, panels, strict=False):
        _draw_panel(axes, panel)
    if points:
        _draw_curve(rows[-1], points)
    figure.savefig(path, dpi=110)


def _panels(results: Sequence[VariantResult]) -> list[_Panel]:
    by_name = {result.variant.name: result for result in results}
    panels: dict[tuple[str, str], _Panel] = {}
    for result in results:
        against = result.variant.against
        if against is not None and result.variant.l1_factor is None:
            _, members = panels.setdefault((against, result.variant.rows), (by_name[against], []))
            members.append(result)
    return list(panels.values())


def _curve_points(results: Sequence[VariantResult]) -> list[VariantResult]:
    """Return the points from the sparsest to the densest; none if there is only the default."""
    points = [result for result in results if result.variant.l1_factor is not None]
    return sorted(points, key=_l1, reverse=True) if len(points) > 1 else []


def _draw_panel(row: Sequence[Axes], panel: _Panel) -> None:
    reference, members = panel
    limits = _limits(result.differences[p].auc for result in members for p in PROTOCOLS)
    for axes, protocol in zip(row, PROTOCOLS, strict=True):
        for position, result in enumerate(members):
            _draw_interval(axes, position, result.differences[protocol].auc, _COLOURS[protocol])
        auc = _spread_text(reference.measured[protocol]["auc"])
        axes.set_title(f"{protocol}, against {reference.variant.name}, AUC {auc}", fontsize=10)
        axes.set_xlabel("difference of AUC (below 0: worse), 95 % interval by user", fontsize=9)
        axes.set_xlim(limits)
        axes.set_ylim(len(members) - 0.4, -0.6)
        axes.set_yticks(range(len(members)), [result.variant.name for result in members])
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.axvline(0, color="black", lw=1)
        axes.grid(axis="x", alpha=0.3)
    row[1].tick_params(labelleft=False)


def _draw_interval(axes: Axes, position: int, interval: Interval, colour: str) -> None:
    axes.plot([interval.low, interval.high], [position, position], color=colour, lw=2)
    axes.plot(interval.difference, position, "o", color=colour)
    axes.annotate(
        _interval_text(interval),
        (1.01, position),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=9,
    )


def _draw_curve(row: Sequence[Axes], points: Sequence[VariantResult]) -> None:
    """Draw the differences to the default, from the sparsest to the densest."""
    intervals = {p: [_difference_to_default(point, p) for point in points] for p in PROTOCOLS}
    limits = _limits(interval for protocol in intervals.values() for interval in protocol)
    for axes, protocol in zip(row, PROTOCOLS, strict=True):
        colour = _COLOURS[protocol]
        differences = [interval.difference for interval in intervals[protocol]]
        axes.plot(range(len(points)), differences, "o-", color=colour)
        for x, interval in enumerate(intervals[protocol]):
            axes.plot([x, x], [interval.low, interval.high], color=colour, lw=2)
        axes.set_title(f"{protocol}: the sparsity that L1 buys", fontsize=10)
        axes.set_xlabel("L1, and the wide weights that are not 0", fontsize=9)
        axes.set_ylabel("difference of AUC to the default", fontsize=9)
        axes.set_xticks(range(len(points)), [_point_text(point) for point in points])
        axes.margins(x=0.1)
        axes.set_ylim(limits)
        axes.axhline(0, color="black", lw=1)
        axes.grid(alpha=0.3)


def _difference_to_default(point: VariantResult, protocol: str) -> Interval:
    difference = point.differences.get(protocol)
    return difference.auc if difference else Interval(0.0, 0.0, 0.0)


def _point_text(point: VariantResult) -> str:
    default = "" if point.variant.against else " (default)"
    return f"{_l1(point):g}{default}\n{point.wide_nonzero.mean:,.0f} weights"


def _l1(result: VariantResult) -> float:
    return result.variant.preset.training.ftrl.l1


def _limits(intervals: Iterable[Interval]) -> tuple[float, float]:
    """Return the ends of an axis that holds zero and all intervals, with room beside them."""
    ends = [0.0, *(end for interval in intervals for end in (interval.low, interval.high))]
    room = _ROOM * (max(ends) - min(ends)) + 1e-5
    return min(ends) - room, max(ends) + room
