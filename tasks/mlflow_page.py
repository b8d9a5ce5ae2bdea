"""What a retrain shows in MLflow: its name, tags, metrics and description, and the pages to open.

Runs of different as-ofs have different holdouts, on which a metric's value means different things.
So every text here says on which rows a metric was measured, and the differences between two models
on the same rows come first.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tasks.model_store import TRAINING_VIEW
from tasks.run import RunContext, flatten
from widedeep.evaluation.gate import BASELINE_NAME, Decision
from widedeep.evaluation.report import difference_text
from widedeep.evaluation.scoring import HoldoutRows

NOTE = "mlflow.note.content"
"""Tag of a run or an experiment that MLflow shows as its description, in Markdown."""

_DECISIONS = "decisions"
_COLUMNS = {
    "attributes.`Run Name`": 215,
    "runDateAndNestInfo": 80,
    "tags.`auc_difference`": 260,
    "metrics.`holdout_streaming_auc`": 150,
    "tags.`decision`": 140,
    "tags.`version`": 70,
    "tags.`holdout`": 330,
    "metrics.`auc_minus_champion`": 150,
    "metrics.`auc_minus_user_item_mean`": 190,
}
"""Widths in pixels of the columns of the view `decisions`, by MLflow's names, in order."""
_COLUMNS_ALWAYS_SHOWN = 2


def _saved_view(name: str, columns: Mapping[str, int]) -> str:
    """Return a view of an experiment's runs as MLflow 3 keeps it: the menu Views offers it."""
    shown = {
        "selectedColumns": [*columns][_COLUMNS_ALWAYS_SHOWN:],
        "columnOrder": [*columns],
        "columnWidths": dict(columns),
    }
    return json.dumps({"name": name, "createdAt": 0, "state": json.dumps(shown)})


RETRAIN_VIEW = {
    f"mlflow.sharedViewState.{_DECISIONS}": _saved_view(_DECISIONS, _COLUMNS),
    "mlflow.experiment.primaryMetric.name": "auc_minus_champion",
    NOTE: "Compare `holdout_…` only where the tag `holdout` is the same (*Group by → holdout*). "
    "`auc_minus_champion` is a run's model minus the champion it met, both on the same rows. Each "
    "run is one retrain; *Views → decisions* lists what was decided.",
}
"""Tags of an experiment of retrains: a view with the right columns, and how to read it."""


@dataclass(frozen=True, slots=True)
class RunDecision:
    """What a retrain decided about the version that it registered, for readers of MLflow.

    Attributes:
        context: The run's data, settings and champion.
        comparison: The evaluation's comparison, as JSON values.
        decision: The verdict and its reasons.
        version: The number of the registered version.
    """

    context: RunContext
    comparison: Mapping[str, Any]
    decision: Decision
    version: str

    @property
    def opponent(self) -> str:
        """The model that the version was compared with on the same rows."""
        if self.comparison["champion"] is None or self.context.champion is None:
            return f"the {BASELINE_NAME}" if self.comparison["difference"] else "no model"
        return f"v{self.context.champion.number}, the champion"

    @property
    def holdout(self) -> HoldoutRows:
        """The rows that all metrics of the holdout were measured on."""
        return HoldoutRows(**self.comparison["holdout"])

    def name(self) -> str:
        """Return the run's name, as `v3 hold, holdout 2018-01-02 to 2018-10-01, warm`."""
        verdict = str(self.decision.verdict).replace("_", " ")
        start = "warm" if self.context.start.warm else "cold"
        return f"v{self.version} {verdict}, holdout {self.holdout.period}, {start}"

    def tags(self) -> dict[str, str]:
        """Return the tags that make the columns of MLflow's list of runs."""
        difference = difference_text(self.comparison)
        return {
            "decision": str(self.decision.verdict),
            "version": self.version,
            "holdout": self.holdout.to_text(),
            "auc_difference": f"{difference} to {self.opponent}"
            if difference
            else "not comparable",
        }

    def note(self, same_rows: Sequence[str]) -> str:
        """Return the run's description, in Markdown.

        Args:
            same_rows: Names of the other runs whose holdout has the same rows.
        """
        tags, others = self.tags(), "; ".join(same_rows) or "no other run so far"
        champion = (
            f"`holdout_champion_…` is {self.opponent}, on the same rows. "
            if self.comparison["champion"]
            else ""
        )
        reasons = "".join(f"- {reason}\n" for reason in self.decision.reasons)
        return (
            f"**{tags['decision']}** version {self.version}; streaming AUC "
            f"{tags['auc_difference']}. Holdout: {tags['holdout']}.\n\n"
            "`…_minus_champion` is this run's model minus the champion it met, both on these rows: "
            "it says which of the two is better. Its size may be set beside another run's only "
            "where champion and rows are the same. `holdout_…` is this run's model on its own "
            "holdout: compare it only with runs on the same rows, "
            f"`tags.holdout = '{tags['holdout']}'` ({others}). {champion}"
            "`auc_minus_user_item_mean` says how far the model is above that baseline on its own "
            f"rows.\n\n{reasons}"
        )


def comparison_metrics(comparison: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the metrics of a comparison (JSON values) by their names in MLflow.

    `holdout_…` is the challenger, `holdout_champion_…` the champion on the same rows, and
    `auc_minus_champion` their difference, with the ends of its interval as `…_low` and `…_high`.
    `lists_…` say how the challenger's lists differ from user to user.
    """
    challenger, champion = comparison["challenger"], comparison["champion"]
    baseline, difference = comparison["baseline"], comparison["difference"]
    metrics = flatten("holdout", challenger)
    metrics |= flatten("lists", comparison["lists"]["challenger"])
    metrics["holdout_rows"] = comparison["holdout"]["rows"]
    if champion:
        metrics |= flatten("holdout_champion", champion)
    metrics["auc_minus_user_item_mean"] = (
        challenger["streaming"]["auc"] - baseline["streaming"]["auc"]
    )
    if difference:
        opponent = "champion" if champion else "user_item_mean"
        for metric in ("auc", "log_loss", "ece"):
            name = f"{metric}_minus_{opponent}"
            metrics[name] = difference[metric]["difference"]
            metrics |= {f"{name}_{end}": difference[metric][end] for end in ("low", "high")}
    return metrics


@dataclass(frozen=True, slots=True)
class RunPages:
    """Where MLflow's UI shows a run; each page is what follows the address of the UI.

    Attributes:
        run_id: The run.
        experiment: The id of its experiment.
        prefect_run: The id of the Prefect run that made it, if one did.
    """

    run_id: str
    experiment: str
    prefect_run: str | None

    @property
    def run(self) -> str:
        """The page of the run itself, with its description."""
        return f"{self._runs}/{self.run_id}?{TRAINING_VIEW}"

    @property
    def decisions(self) -> str:
        """The list of all runs with decision, difference to the champion, AUC and holdout."""
        return f"{self._runs}?viewStateShareKey={_DECISIONS}&{TRAINING_VIEW}"

    @property
    def children(self) -> str:
        """The charts that compare the runs below this one."""
        query = quote(f"tags.`mlflow.parentRunId` = '{self.run_id}'")
        return f"{self._runs}?searchFilter={query}&compareRunsMode=CHART&{TRAINING_VIEW}"

    def beside(self, other: str) -> str:
        """Return the page that compares the run with another one of the same experiment."""
        runs, experiments = (
            quote(json.dumps(ids, separators=(",", ":")))
            for ids in ([self.run_id, other], [self.experiment])
        )
        return f"/#/compare-runs?runs={runs}&experiments={experiments}&{TRAINING_VIEW}"

    @property
    def _runs(self) -> str:
        return f"/#/experiments/{self.experiment}/runs"
