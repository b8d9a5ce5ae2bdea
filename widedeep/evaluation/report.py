"""An evaluation in words and tables: headline metrics, model card, Markdown and CSV.

`headlines` lists the metrics of a comparison in the order in which people read them. `ModelCard`
is the page of a version in the registry. `markdown_table` and `write_csv` serve every report.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from widedeep.evaluation.gate import BASELINE_NAME

HEADLINES = (
    ("streaming", "auc", "streaming AUC"),
    ("streaming", "log_loss", "streaming log loss"),
    ("streaming", "ece", "streaming calibration error"),
    ("frozen", "auc", "frozen AUC"),
    ("frozen", "log_loss", "frozen log loss"),
    ("frozen", "gauc", "frozen GAUC"),
    ("frozen", "ndcg_at_10", "frozen NDCG@10"),
    ("lists", "coverage", "top-10 lists: share of items shown"),
    ("lists", "gini", "top-10 lists: Gini of exposure"),
    ("lists", "overlap", "top-10 lists: overlap of two users"),
    ("lists", "novelty", "top-10 lists: novelty, bits"),
)
"""(protocol, metric, title); `ece` is the expected calibration error. `lists` is no protocol: those
metrics are of `Comparison.lists`."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One metric of the challenger and of its opponent; None where it has no value.

    `interval` is the text of the bootstrap interval of the difference; empty where there is none.
    """

    title: str
    challenger: float | None
    other: float | None
    interval: str


def opponent_name(comparison: Mapping[str, Any]) -> str:
    """Return the name of the model that the challenger of a comparison (JSON) is compared with."""
    return "champion" if comparison["champion"] else BASELINE_NAME


def headlines(comparison: Mapping[str, Any]) -> Iterator[Headline]:
    """Yield the headline metrics of a comparison (JSON values), in order."""
    opponent = "champion" if comparison["champion"] else "baseline"
    for protocol, metric, title in HEADLINES:
        yield Headline(
            title,
            _value(comparison, "challenger", protocol, metric),
            _value(comparison, opponent, protocol, metric),
            _interval_text(comparison["difference"], protocol, metric),
        )


def _value(comparison: Mapping[str, Any], model: str, protocol: str, metric: str) -> float | None:
    """Return a metric of `challenger`, `champion` or `baseline`; None where it has no value."""
    measured = comparison["lists"][model] if protocol == "lists" else comparison[model]
    if measured is None:
        return None
    of_protocol = measured if protocol == "lists" else measured[protocol]
    value: float | None = of_protocol[metric]
    return value


def difference_text(comparison: Mapping[str, Any]) -> str | None:
    """Return the difference of streaming AUC with its interval; None where there is no opponent."""
    if comparison["difference"] is None:
        return None
    interval = _interval_text(comparison["difference"], "streaming", "auc")
    return f"{comparison['difference']['auc']['difference']:+.4f} {interval}"


def _interval_text(difference: Mapping[str, Any] | None, protocol: str, metric: str) -> str:
    if difference is None or protocol != "streaming" or metric not in difference:
        return ""
    low, high = difference[metric]["low"], difference[metric]["high"]
    return f"[{low:+.4f}, {high:+.4f}]"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """The model card of a version: what it is, how it was measured, and what it is not for.

    Mitchell et al., "Model cards for model reporting" (2019), cut to what a ranker of items needs.

    Attributes:
        title: Model and version.
        facts: Texts by name, in order: what the version was made of and from.
        evaluation: A `Comparison` as JSON values.
        verdict: The gate's verdict.
        reasons: The sentences behind the verdict.
    """

    title: str
    facts: Mapping[str, str]
    evaluation: Mapping[str, Any]
    verdict: str
    reasons: Sequence[str]

    def as_markdown(self) -> str:
        """Return the card as Markdown, for readers who find the version in the registry."""
        facts = "".join(f"- **{name}**: {value}\n" for name, value in self.facts.items())
        reasons = "".join(f"- {reason}\n" for reason in self.reasons)
        return (
            f"# {self.title}\n\n"
            "Predicts the probability that an interaction of a user with an item is positive, as "
            "the label says below, to order candidates for that user. Wide & Deep, one logistic "
            "loss.\n\n"
            f"{facts}\n## On its holdout\n\n{self._metrics()}\n{self._slices()}\n"
            "All columns are measured on the same rows, those named above as holdout, so they are "
            "comparable with each other. Metrics of another version are comparable with these only "
            "if its rows have the same digest.\n\n"
            f"## Decision: {self.verdict}\n\n{reasons}\n## Limits\n\n"
            "- Of users without an earlier interaction the model knows only their features and the "
            "context, if the data have any.\n"
            "- Users choose what they interact with: the probability is that of a positive label, "
            "given an interaction, not that of an interaction.\n"
            "- The top-10 lists are a sample: of the 100 users seen last, out of the 100 items "
            "with the most interactions in the year before. `widedeep rank` measures its own.\n"
            "- The model is as fresh as the interactions it is given; the numbers above hold for "
            "the period named.\n"
        )

    def _metrics(self) -> str:
        models = ("challenger", "champion", "baseline")
        rows = [
            (
                title,
                *(_metric_text(_value(self.evaluation, name, *of)) for name in models),
            )
            for *of, title in HEADLINES
        ]
        return markdown_table(("", "this model", "champion", BASELINE_NAME), rows, 1)

    def _slices(self) -> str:
        rows = [
            (
                name.replace("_", " "),
                f"{measured['rows']:,}",
                _metric_text(measured["streaming"]["auc"]),
            )
            for name, measured in self.evaluation["challenger_slices"].items()
        ]
        return markdown_table(("rows with a", "rows", "streaming AUC"), rows, 1)


def _metric_text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Return a Markdown table, each line with a newline at its end.

    Args:
        columns: The heading.
        rows: Cells, one for each column.
        words: How many of the first columns are text; the rest are numbers, aligned to the right.
    """
    rule = ["---"] * words + ["--:"] * (len(columns) - words)
    return "".join(_markdown_row(cells) for cells in (columns, rule, *rows))


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write at least one row to a CSV file; the heading has the keys of the first row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
