"""Things to be compared take turns, so that what else the machine does meets all of them alike."""

from collections.abc import Callable, Mapping
from statistics import median

Measure = Callable[[], float]
"""Works once and returns a rate, such as rows a second."""


def alternate(measures: Mapping[str, Measure], runs: int) -> dict[str, list[float]]:
    """The rates of each, by run; a first round, which compiles and fills caches, is not counted."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for run in range(runs + 1):
        for name, measure in measures.items():
            rate = measure()
            if run:
                found[name].append(rate)
    return found


def medians(found: Mapping[str, list[float]]) -> dict[str, float]:
    """The median rate of each."""
    return {name: median(rates) for name, rates in found.items()}


def shares(found: Mapping[str, list[float]], ours: str, limit: str) -> float:
    """The median of what was reached of the limit within one round."""
    return median(a / b for a, b in zip(found[ours], found[limit], strict=True))
