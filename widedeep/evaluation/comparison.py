"""The evaluation stage: challenger and champion on the same rows, and what follows from it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from widedeep import metrics
from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.evaluation.bootstrap import PairedDifference, paired_bootstrap
from widedeep.evaluation.promotion import (
    Decision,
    GateConfig,
    Score,
    decide_against_champion,
    decide_first,
    unfair,
)
from widedeep.evaluation.scoring import (
    Predictions,
    Scorer,
    measure_slices,
    model_scorer,
    slices,
    user_movie_mean,
)
from widedeep.features.catalogue import Catalogue
from widedeep.model.trained_model import TrainedModel
from widedeep.when import iso

BOOTSTRAP_SEED = 1606_07792
PREDICTIONS = "predictions.parquet"
CHAMPION_PREDICTIONS = "champion_predictions.parquet"


@dataclass(frozen=True, slots=True)
class Comparison:
    """What evaluation found. `champion` and `difference` are None where there is no fair one."""

    challenger: Mapping[str, Any]
    champion: Mapping[str, Any] | None
    baseline: Mapping[str, Any]
    challenger_slices: Mapping[str, Any]
    champion_slices: Mapping[str, Any] | None
    difference: PairedDifference | None
    decision: Decision

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The holdout of one split, and the gate."""

    log: RatingLog
    catalogue: Catalogue
    split: Split
    gate: GateConfig

    def compare(
        self, challenger: TrainedModel, champion: TrainedModel | None, folder: Path
    ) -> Comparison:
        """Score, decide, and write the predictions of every holdout row into `folder`."""
        ours = self._predict(challenger, model_scorer(challenger, self.log, self.catalogue))
        ours.save(folder / PREDICTIONS)
        baseline = user_movie_mean(challenger.transform, self.log, self.catalogue)
        means = self._predict(challenger, baseline)
        masks = slices(self.log, self.split)
        objection = self._objection(challenger, champion) if champion else None
        theirs, difference = None, None
        if objection:
            decision = unfair(objection)
        elif champion is None:
            difference = streaming_difference(ours, means, self.gate)
            constant = np.full(len(ours.label), challenger.transform.prior)
            floor = metrics.log_loss(ours.label, constant)
            decision = decide_first(
                difference, streaming_score(ours), streaming_score(means), floor, self.gate
            )
        else:
            theirs = self._predict(champion, model_scorer(champion, self.log, self.catalogue))
            theirs.save(folder / CHAMPION_PREDICTIONS)
            difference = streaming_difference(ours, theirs, self.gate)
            decision = decide_against_champion(
                difference, streaming_score(ours), streaming_score(theirs), self.gate
            )
        return Comparison(
            ours.measure(),
            theirs.measure() if theirs else None,
            means.measure(),
            measure_slices(ours, masks),
            measure_slices(theirs, masks) if theirs else None,
            difference,
            decision,
        )

    def _predict(self, model: TrainedModel, scorer: Scorer) -> Predictions:
        return Predictions.of(self.log, self.split, model.transform.spec.history, scorer)

    def _objection(self, challenger: TrainedModel, champion: TrainedModel) -> str | None:
        """Why a comparison on this holdout would be unfair, if it would be."""
        if champion.learned_until > self.split.holdout_from:
            return (
                f"the champion has seen ratings up to {iso(champion.learned_until)}, past this "
                f"holdout's start {iso(self.split.holdout_from)}: a comparison would be unfair"
            )
        ours = challenger.transform.spec.history.positive_rating
        theirs = champion.transform.spec.history.positive_rating
        if ours != theirs:
            return (
                f"the champion calls a rating of {theirs} positive, the challenger one of {ours}: "
                f"their scores cannot be compared"
            )
        return None


def streaming_difference(
    ours: Predictions, theirs: Predictions, gate: GateConfig
) -> PairedDifference:
    """How much better the one set of predictions of the same rows is, by the gate's intervals."""
    return paired_bootstrap(
        ours.label,
        ours.streaming,
        theirs.streaming,
        ours.user,
        generator=np.random.default_rng(BOOTSTRAP_SEED),
        replicates=gate.replicates,
        confidence=gate.confidence,
    )


def streaming_score(predictions: Predictions) -> Score:
    """Of the rows as they were met; InputError if they have one class only."""
    return Score(
        metrics.auc(predictions.label, predictions.streaming),
        metrics.log_loss(predictions.label, predictions.streaming),
    )
