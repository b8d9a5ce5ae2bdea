"""The evaluation stage: challenger and champion on the same rows, and what follows from it.

The metrics that people are shown, in the order in which they read them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from widedeep import metrics
from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.evaluation.bootstrap import Guardrail, PairedDifference
from widedeep.evaluation.gate import (
    BOOTSTRAP_SEED,
    Decision,
    GateConfig,
    Masks,
    decide_against_champion,
    decide_first,
    hold_incomparable,
    measure_guardrails,
    streaming_difference,
    streaming_score,
)
from widedeep.evaluation.scoring import (
    BASELINE_PREDICTIONS,
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    ModelScorer,
    Predictions,
    Scorer,
    TopLists,
    measure_slices,
    model_scorer,
    slices,
    user_item_mean,
)
from widedeep.evaluation.sequential import PooledDifference, disjoint_windows, pool_windows
from widedeep.features.items import ItemTable
from widedeep.inputs import to_iso
from widedeep.model.trained_model import TrainedModel
from widedeep.store import Artifact


@dataclass(frozen=True, slots=True)
class Comparison:
    """What evaluation found on the ratings from `holdout_from` (UNIX seconds) on.

    `champion` and `difference` are None where there is no fair one.
    """

    holdout_from: int
    challenger: Mapping[str, Any]
    champion: Mapping[str, Any] | None
    baseline: Mapping[str, Any]
    challenger_slices: Mapping[str, Any]
    champion_slices: Mapping[str, Any] | None
    difference: PairedDifference | None
    guards: Sequence[Guardrail]
    decision: Decision

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """A decision and what it rests on."""

    decision: Decision
    theirs: Predictions | None = None
    difference: PairedDifference | None = None
    guards: Sequence[Guardrail] = ()


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The holdout of one split, the gate, and what scores by a model."""

    interactions: Interactions
    item_table: ItemTable
    split: Split
    gate: GateConfig
    scorer: ModelScorer = model_scorer

    def compare(
        self,
        challenger: TrainedModel,
        champion: TrainedModel | None,
        folder: Path,
        earlier: Sequence[Artifact] = (),
    ) -> Comparison:
        """Score, decide, and write the predictions of every holdout row into `folder`.

        `earlier` are all evaluations since this champion serves: they are pooled with this one.
        """
        scorer = self.scorer(challenger, self.interactions, self.item_table)
        ours = self._predict(challenger, scorer)
        means = self._predict(
            challenger, user_item_mean(challenger.transform, self.interactions, self.item_table)
        )
        ours.save(folder / PREDICTIONS)
        means.save(folder / BASELINE_PREDICTIONS)
        masks = slices(self.interactions, self.split)
        objection = self._objection(challenger, champion) if champion else None
        if objection:
            found = _Judgement(hold_incomparable(objection))
        elif champion is None:
            found = self._first(ours, means, challenger.transform.prior)
        else:
            found = self._against(champion, ours, scorer, masks, earlier)
        theirs = found.theirs
        if theirs is not None:
            theirs.save(folder / CHAMPION_PREDICTIONS)
        return Comparison(
            self.split.holdout_from,
            ours.measure(),
            theirs.measure() if theirs else None,
            means.measure(),
            measure_slices(ours, masks),
            measure_slices(theirs, masks) if theirs else None,
            found.difference,
            found.guards,
            found.decision,
        )

    def _first(self, ours: Predictions, means: Predictions, prior: float) -> _Judgement:
        difference = streaming_difference(ours, means, self.gate)
        floor = metrics.log_loss(ours.label, np.full(len(ours.label), prior))
        scores = streaming_score(ours), streaming_score(means)
        return _Judgement(decide_first(difference, *scores, floor, self.gate), None, difference)

    def _against(
        self,
        champion: TrainedModel,
        ours: Predictions,
        scorer: Scorer,
        masks: Masks,
        earlier: Sequence[Artifact],
    ) -> _Judgement:
        other = self.scorer(champion, self.interactions, self.item_table)
        theirs = self._predict(champion, other)
        difference = streaming_difference(ours, theirs, self.gate)
        lists = (self._lists(scorer), self._lists(other))
        found = measure_guardrails((ours, theirs), difference, masks, lists, self.gate)
        decision = decide_against_champion(
            difference,
            streaming_score(ours),
            streaming_score(theirs),
            found,
            self.gate,
            pooled=self._pooled((ours, theirs), earlier),
        )
        return _Judgement(decision, theirs, difference, found)

    def _predict(self, model: TrainedModel, scorer: Scorer) -> Predictions:
        return Predictions.of(self.interactions, self.split, model.transform.spec.history, scorer)

    def _lists(self, scorer: Scorer) -> TopLists:
        return TopLists.of(self.interactions, self.split.as_of, scorer)

    def _pooled(
        self, present: tuple[Predictions, Predictions], earlier: Sequence[Artifact]
    ) -> PooledDifference | None:
        if not earlier:
            return None
        return pool_windows(
            disjoint_windows(earlier, present, self.split.holdout_from),
            len(earlier) + 1,
            generator=np.random.default_rng(BOOTSTRAP_SEED),
            replicates=self.gate.replicates,
            confidence=self.gate.confidence,
        )

    def _objection(self, challenger: TrainedModel, champion: TrainedModel) -> str | None:
        """Why a comparison on this holdout would be unfair, if it would be."""
        if champion.learned_until > self.split.holdout_from:
            return (
                f"the champion has seen ratings up to {to_iso(champion.learned_until)}, past this "
                f"holdout's start {to_iso(self.split.holdout_from)}: a comparison would be unfair"
            )
        ours = challenger.transform.spec.history.positive_rating
        theirs = champion.transform.spec.history.positive_rating
        if ours != theirs:
            return (
                f"the champion calls a rating of {theirs} positive, the challenger one of {ours}: "
                f"their scores cannot be compared"
            )
        return None


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


def opponent_name(found: Mapping[str, Any]) -> str:
    """Who the challenger of a comparison (JSON values) stands against."""
    return "champion" if found["champion"] else "user + item mean"


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
