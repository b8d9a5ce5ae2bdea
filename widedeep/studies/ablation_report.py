"""An ablation for people (tables of text) and for programs (rows of numbers).

An ablation as a picture: what each change costs, and the sparsity that L1 buys.
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
from widedeep.features.training_data import FROZEN, PROTOCOLS, STREAMING
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

METRICS = {"auc": "AUC", "log_loss": "log loss"}
"""What differences are taken of, and their names for people."""

_COLUMNS: dict[str, dict[str, str]] = {
    STREAMING: {"log loss": "log_loss", "ECE": "ece"},
    FROZEN: {"log loss": "log_loss", "ECE": "ece", "GAUC": "gauc"},
}


@dataclass(frozen=True, slots=True)
class TextTable:
    """Cells, one tuple a row, under `columns`; the first `words` of them are no figures."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1

    def as_markdown(self) -> str:
        """A table in Markdown under a heading."""
        return f"### {self.title}\n\n" + markdown_table(self.columns, self.rows, self.words)


def holdout_tables(results: Sequence[VariantResult]) -> list[TextTable]:
    """The whole holdout under each protocol, and costs."""
    return [*(_whole(protocol, results) for protocol in PROTOCOLS), _costs(results)]


def slice_tables(protocol: str, results: Sequence[VariantResult]) -> list[TextTable]:
    """Differences on the slices of the holdout: of AUC, and of log loss."""
    counts = {name: parts[protocol].rows for name, parts in results[0].slices.items()}
    columns = ("variant", *(f"{name} ({rows:,})" for name, rows in counts.items()))
    found = []
    for metric, title in METRICS.items():
        rows = tuple(
            (result.variant.name, *(_part_text(result, name, protocol, metric) for name in counts))
            for result in results
        )
        found.append(TextTable(f"{title} by slice (rows), {protocol} history", columns, rows))
    return found


def holdout_numbers(results: Sequence[VariantResult]) -> list[dict[str, Any]]:
    """A row of unrounded numbers for each variant."""
    return [_numbers(result) for result in results]


def slice_numbers(results: Sequence[VariantResult]) -> list[dict[str, Any]]:
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


def _whole(protocol: str, results: Sequence[VariantResult]) -> TextTable:
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
    return TextTable(f"{protocol} history", columns, rows)


def _costs(results: Sequence[VariantResult]) -> TextTable:
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


def spread_text(spread: SeedSpread) -> str:
    """Mean ± standard deviation, the latter where there are several seeds."""
    sd = "" if spread.sd is None else f" ± {_figure(spread.sd)}"
    return f"{_figure(spread.mean)}{sd}"


def interval_text(interval: Interval) -> str:
    """Difference and the ends of its interval."""
    ends = (interval.difference, interval.low, interval.high)
    return "{} [{}, {}]".format(*(_figure(end, "+") for end in ends))


def _difference_text(
    difference: VariantDifference | None, chosen: Callable[[VariantDifference], Interval]
) -> str:
    return "" if difference is None else interval_text(chosen(difference))


def _part_text(result: VariantResult, name: str, protocol: str, metric: str) -> str:
    part = result.slices[name][protocol]
    if metric not in part.measured:
        return "one class only"
    if metric in part.differences:
        return interval_text(part.differences[metric])
    return "" if result.variant.against else _figure(part.measured[metric].mean)


def _mean(measured: Mapping[str, SeedSpread], metric: str) -> str:
    return _figure(measured[metric].mean) if metric in measured else "-"


def _figure(value: float, sign: str = "") -> str:
    """Four decimals without the zero before them."""
    return f"{value:{sign}.4f}".replace("0.", ".", 1)


def _numbers(result: VariantResult) -> dict[str, Any]:
    row: dict[str, Any] = dict(result.variant.as_json())
    for protocol in PROTOCOLS:
        for metric, spread in result.measured[protocol].items():
            row |= _spread(f"{protocol}_{metric}", spread)
        row |= _difference(protocol, result.differences.get(protocol))
    for name in ("wide_nonzero", "best_epoch", "seconds"):
        row |= _spread(name, getattr(result, name))
    return row


def _difference(protocol: str, found: VariantDifference | None) -> dict[str, float | None]:
    auc, log_loss = (found.auc, found.log_loss) if found else (None, None)
    return {
        **_interval(f"{protocol}_auc_difference", auc),
        f"{protocol}_auc_difference_sd": found.auc_sd if found else None,
        **_interval(f"{protocol}_log_loss_difference", log_loss),
    }


def _part_numbers(part: SliceResult) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for metric in METRICS:
        row |= _spread(metric, part.measured.get(metric))
        row |= _interval(f"{metric}_difference", part.differences.get(metric))
    return row


def _spread(name: str, spread: SeedSpread | None) -> Mapping[str, float | None]:
    return {name: spread.mean if spread else None, f"{name}_sd": spread.sd if spread else None}


def _interval(name: str, interval: Interval | None) -> Mapping[str, float | None]:
    names = (name, f"{name}_low", f"{name}_high")
    ends = (interval.difference, interval.low, interval.high) if interval else (None,) * 3
    return dict(zip(names, ends, strict=True))


_COLOURS = {STREAMING: "#1f5fa8", FROZEN: "#c05a1c"}
_WIDTH = 14.0
_PANEL_INCHES, _ROW_INCHES, _CURVE_INCHES = 1.0, 0.32, 3.4
_ROOM = 0.08
"""Share of an axis that is left free beside the outermost end of an interval."""

Panel = tuple[VariantResult, list[VariantResult]]
"""A reference and what is compared with it."""


def draw_ablation(results: Sequence[VariantResult], title: str, path: Path) -> None:
    """Write a PNG: a row of panels for each reference, streaming and frozen; the curve of L1 below.

    Models trained on other rows stand apart, as their differences are of another order. The two
    protocols of a row of panels have one linear scale, with the zero line in sight.
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


def _panels(results: Sequence[VariantResult]) -> list[Panel]:
    by_name = {result.variant.name: result for result in results}
    panels: dict[tuple[str, str], Panel] = {}
    for result in results:
        against = result.variant.against
        if against is not None and result.variant.l1_factor is None:
            panel = panels.setdefault((against, result.variant.rows), (by_name[against], []))
            panel[1].append(result)
    return list(panels.values())


def _curve_points(results: Sequence[VariantResult]) -> list[VariantResult]:
    """The sparsest first; none where there is nothing but the default."""
    points = [result for result in results if result.variant.l1_factor is not None]
    return sorted(points, key=_l1, reverse=True) if len(points) > 1 else []


def _draw_panel(axes: Sequence[Axes], panel: Panel) -> None:
    reference, members = panel
    ends = _limits(result.differences[p].auc for result in members for p in PROTOCOLS)
    for place, protocol in zip(axes, PROTOCOLS, strict=True):
        for row, result in enumerate(members):
            interval = result.differences[protocol].auc
            place.plot([interval.low, interval.high], [row, row], color=_COLOURS[protocol], lw=2)
            place.plot(interval.difference, row, "o", color=_COLOURS[protocol])
            place.annotate(
                interval_text(interval),
                (1.01, row),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=9,
            )
        auc = spread_text(reference.measured[protocol]["auc"])
        against = f"against {reference.variant.name}, AUC {auc}"
        place.set_title(f"{protocol}, {against}", fontsize=10)
        place.set_xlabel("difference of AUC (below 0: worse), 95 % interval by user", fontsize=9)
        place.set_xlim(ends)
        place.set_ylim(len(members) - 0.4, -0.6)
        place.set_yticks(range(len(members)), [result.variant.name for result in members])
        place.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        place.axvline(0, color="black", lw=1)
        place.grid(axis="x", alpha=0.3)
    axes[1].tick_params(labelleft=False)


def _draw_curve(axes: Sequence[Axes], points: Sequence[VariantResult]) -> None:
    """Differences to the default, from the sparsest to the densest."""
    found = {p: [_from_default(point, p) for point in points] for p in PROTOCOLS}
    ends = _limits(interval for intervals in found.values() for interval in intervals)
    for place, protocol in zip(axes, PROTOCOLS, strict=True):
        heights = [interval.difference for interval in found[protocol]]
        place.plot(range(len(points)), heights, "o-", color=_COLOURS[protocol])
        for x, interval in enumerate(found[protocol]):
            place.plot([x, x], [interval.low, interval.high], color=_COLOURS[protocol], lw=2)
        place.set_title(f"{protocol}: the sparsity that L1 buys", fontsize=10)
        place.set_xlabel("L1, and the wide weights that are not 0", fontsize=9)
        place.set_ylabel("difference of AUC to the default", fontsize=9)
        place.set_xticks(range(len(points)), [_point_text(point) for point in points])
        place.margins(x=0.1)
        place.set_ylim(ends)
        place.axhline(0, color="black", lw=1)
        place.grid(alpha=0.3)


def _from_default(point: VariantResult, protocol: str) -> Interval:
    found = point.differences.get(protocol)
    return found.auc if found else Interval(0.0, 0.0, 0.0)


def _point_text(point: VariantResult) -> str:
    default = "" if point.variant.against else " (default)"
    return f"{_l1(point):g}{default}\n{point.wide_nonzero.mean:,.0f} weights"


def _l1(result: VariantResult) -> float:
    return result.variant.preset.training.ftrl.l1


def _limits(intervals: Iterable[Interval]) -> tuple[float, float]:
    """Ends of an axis that holds zero and all intervals, with room beside them."""
    ends = [0.0, *(end for interval in intervals for end in (interval.low, interval.high))]
    room = _ROOM * (max(ends) - min(ends)) + 1e-5
    return min(ends) - room, max(ends) + room
