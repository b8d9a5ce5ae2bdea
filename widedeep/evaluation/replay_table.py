"""A replay as a table, and as numbers for spreadsheets."""

from collections.abc import Sequence
from typing import Any

from widedeep.evaluation.markdown import markdown_table
from widedeep.evaluation.promotion import Verdict
from widedeep.evaluation.replay import Policy
from widedeep.evaluation.replay_result import GateStep, PolicyResult, ReplayResult
from widedeep.when import iso

COLUMNS = (
    "policy",
    "AUC",
    "against always cold",
    "log loss",
    "mean AUC of the periods",
    "training s",
    "rows trained",
    "lists changed",
)


def rows(found: ReplayResult) -> list[tuple[str, ...]]:
    """Cells by COLUMNS, a row a policy."""
    return [_row(policy) for policy in found.policies]


def as_markdown(found: ReplayResult, title: str) -> str:
    """The whole report: the table, and what the gate refused and whether it was right."""
    table = markdown_table(COLUMNS, rows(found), 1)
    verdicts = "\n".join(f"- {sentence}" for sentence in gate_sentences(found))
    return f"# {title}\n\n{table}\n## The gate\n\n{verdicts}\n"


def gate_sentences(found: ReplayResult) -> list[str]:
    """How often it said what, how often that was right, and the regret in log loss."""
    kinds = ((Verdict.PROMOTE, "promoted"), (Verdict.HOLD, "held back"))
    sentences = [_verdict_sentence(found.gate, *kind) for kind in kinds]
    asked = _verdict_sentence(found.gate, Verdict.INSUFFICIENT, "called the evidence insufficient")
    loss = {policy.policy: policy.score.log_loss for policy in found.policies}
    regrets = [
        f"regret of the gate (its log loss, caught up, minus that of “{other}”): "
        f"{loss[Policy.CAUGHT_UP] - loss[other]:+.4f} nats a rating"
        for other in (Policy.ALWAYS, Policy.NEVER)
    ]
    return [*sentences, asked, *regrets]


def numbers(found: ReplayResult) -> list[dict[str, Any]]:
    """A row a policy and step."""
    return [
        {
            "policy": str(policy.policy),
            "as_of": iso(step.at),
            "rows": step.rows,
            "auc": step.score.auc if step.score else None,
            "log_loss": step.score.log_loss if step.score else None,
            "training_seconds": round(step.seconds, 3),
            "training_rows": step.training_rows,
            "tokens": step.tokens,
            "churn": step.churn,
        }
        for policy in found.policies
        for step in policy.steps
    ]


def _row(found: PolicyResult) -> tuple[str, ...]:
    against = ""
    if found.difference:
        auc = found.difference.auc
        against = f"{auc.difference:+.4f} [{auc.low:+.4f}, {auc.high:+.4f}]"
    return (
        str(found.policy),
        f"{found.score.auc:.4f}",
        against,
        f"{found.score.log_loss:.4f}",
        f"{found.mean_auc:.4f}",
        f"{found.seconds:,.0f}",
        f"{found.training_rows:,}",
        f"{found.churn:.0%}",
    )


def _verdict_sentence(gate: Sequence[GateStep], verdict: Verdict, words: str) -> str:
    same = [step for step in gate if step.verdict is verdict]
    known = [step.right for step in same if step.right is not None]
    return f"{words} {len(same)} times; right, by the period that followed, {sum(known)} times"
