"""An ablation as a picture: what each change costs, and the sparsity that L1 buys."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from widedeep.evaluation.ablation_result import Result
from widedeep.evaluation.ablation_table import interval_text, spread_text
from widedeep.evaluation.bootstrap import Interval
from widedeep.features.training_set import FROZEN, PROTOCOLS, STREAMING

_COLOURS = {STREAMING: "#1f5fa8", FROZEN: "#c05a1c"}
_WIDTH = 14.0
_PANEL_INCHES, _ROW_INCHES, _CURVE_INCHES = 1.0, 0.32, 3.4
_ROOM = 0.08
"""Share of an axis that is left free beside the outermost end of an interval."""

Panel = tuple[Result, list[Result]]
"""A reference and what is compared with it."""


def draw(results: Sequence[Result], title: str, path: Path) -> None:
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


def _panels(results: Sequence[Result]) -> list[Panel]:
    by_name = {result.variant.name: result for result in results}
    panels: dict[tuple[str, str], Panel] = {}
    for result in results:
        against = result.variant.against
        if against is not None and result.variant.l1_factor is None:
            panel = panels.setdefault((against, result.variant.rows), (by_name[against], []))
            panel[1].append(result)
    return list(panels.values())


def _curve_points(results: Sequence[Result]) -> list[Result]:
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


def _draw_curve(axes: Sequence[Axes], points: Sequence[Result]) -> None:
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


def _from_default(point: Result, protocol: str) -> Interval:
    found = point.differences.get(protocol)
    return found.auc if found else Interval(0.0, 0.0, 0.0)


def _point_text(point: Result) -> str:
    default = "" if point.variant.against else " (default)"
    return f"{_l1(point):g}{default}\n{point.wide_nonzero.mean:,.0f} weights"


def _l1(result: Result) -> float:
    return result.variant.preset.training.ftrl.l1


def _limits(intervals: Iterable[Interval]) -> tuple[float, float]:
    """Ends of an axis that holds zero and all intervals, with room beside them."""
    ends = [0.0, *(end for interval in intervals for end in (interval.low, interval.high))]
    room = _ROOM * (max(ends) - min(ends)) + 1e-5
    return min(ends) - room, max(ends) + room
