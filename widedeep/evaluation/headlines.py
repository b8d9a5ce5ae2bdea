"""The metrics that people are shown, in the order in which they read them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

HEADLINES = (
    ("streaming", "auc", "streaming AUC"),
    ("streaming", "log_loss", "streaming log loss"),
    ("streaming", "ece", "streaming ECE"),
    ("frozen", "auc", "frozen AUC"),
    ("frozen", "log_loss", "frozen log loss"),
    ("frozen", "gauc", "frozen GAUC"),
    ("frozen", "ndcg_at_10", "frozen NDCG@10"),
)
"""(protocol, metric, title); ECE is the expected calibration error."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One metric of the challenger and of what it is compared with; None where it has no value.

    `interval` is the bootstrap's of the difference, as it is printed; empty where there is none.
    """

    title: str
    challenger: float | None
    other: float | None
    interval: str


def opponent(found: Mapping[str, Any]) -> str:
    """Who the challenger of a comparison (JSON values) stands against."""
    return "champion" if found["champion"] else "user + movie mean"


def headlines(found: Mapping[str, Any]) -> Iterator[Headline]:
    """The metrics of a comparison (JSON values), in order."""
    theirs = found["champion"] or found["baseline"]
    for protocol, metric, title in HEADLINES:
        ours, other = found["challenger"][protocol][metric], theirs[protocol][metric]
        yield Headline(title, ours, other, _interval(found["difference"], protocol, metric))


def _interval(difference: Mapping[str, Any] | None, protocol: str, metric: str) -> str:
    if difference is None or protocol != "streaming" or metric not in difference:
        return ""
    low, high = difference[metric]["low"], difference[metric]["high"]
    return f"[{low:+.4f}, {high:+.4f}]"
