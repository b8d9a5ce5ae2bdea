"""A model card: what a version is, what it was measured by, and what it is not for.

Mitchell et al., "Model cards for model reporting" (2019), cut to what a ranker of films has to say.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from widedeep.evaluation.headlines import HEADLINES
from widedeep.evaluation.markdown import markdown_table


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What the card says.

    Attributes:
        title: Model and version.
        facts: What it is made of and from, in order; shown as they are.
        evaluation: A `Comparison` as JSON values.
        verdict: What was decided.
        reasons: Why.
    """

    title: str
    facts: Mapping[str, str]
    evaluation: Mapping[str, Any]
    verdict: str
    reasons: Sequence[str]

    def as_markdown(self) -> str:
        """For people who find the version in the registry."""
        facts = "".join(f"- **{name}**: {value}\n" for name, value in self.facts.items())
        reasons = "".join(f"- {reason}\n" for reason in self.reasons)
        return (
            f"# {self.title}\n\n"
            "Gives the probability that a user rates a film with 10 of 10 (or whatever the label "
            "says below), to order candidates for that user. Wide & Deep, one logistic loss.\n\n"
            f"{facts}\n## On its holdout\n\n{self._table()}\n## Decision: {self.verdict}\n\n"
            f"{reasons}\n## Limits\n\n"
            "- Half of the traffic are users without a rating: for them it knows the film alone.\n"
            "- Who rates a film has chosen to see it: the probability is of liking, given a "
            "rating, not of watching.\n"
            "- It is as fresh as the ratings it is given; the numbers above hold for the period "
            "named.\n"
        )

    def _table(self) -> str:
        ours, theirs = self.evaluation["challenger"], self.evaluation["champion"]
        means, slices = self.evaluation["baseline"], self.evaluation["challenger_slices"]
        rows = [
            (title, *(_figure(found, protocol, metric) for found in (ours, theirs, means)))
            for protocol, metric, title in HEADLINES
        ]
        table = markdown_table(("", "this model", "champion", "user + movie mean"), rows, 1)
        by_slice = [
            (name.replace("_", " "), f"{found['rows']:,}", _figure(found, "streaming", "auc"))
            for name, found in slices.items()
        ]
        return table + "\n" + markdown_table(("rows with a", "rows", "streaming AUC"), by_slice, 1)


def _figure(found: Mapping[str, Any] | None, protocol: str, metric: str) -> str:
    value = found[protocol].get(metric) if found else None
    return "-" if value is None else f"{value:.4f}"
