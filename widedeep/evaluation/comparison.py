"""The evaluation stage: challenger and champion on the same rows, and what follows from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from widedeep import metrics
from widedeep.artifact_store import Artifact
from widedeep.data.ratings import RatingLog
from widedeep.data.split import Split
from widedeep.evaluation.bootstrap import PairedDifference
from widedeep.evaluation.guards import Guard
from widedeep.evaluation.harm import Masks, guards
from widedeep.evaluation.pairing import BOOTSTRAP_SEED, streaming_difference, streaming_score
from widedeep.evaluation.pooling import Pooled, pool, windows_of
from widedeep.evaluation.promotion import (
    Decision,
    GateConfig,
    decide_against_champion,
    decide_first,
    unfair,
)
from widedeep.evaluation.scoring import (
    BASELINE_PREDICTIONS,
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    ModelScorer,
    Predictions,
    Scorer,
    measure_slices,
    model_scorer,
    slices,
    user_movie_mean,
)
from widedeep.evaluation.top_lists import TopLists
from widedeep.features.catalogue import Catalogue
from widedeep.model.trained_model import TrainedModel
from widedeep.when import iso


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
    guards: Sequence[Guard]
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
    guards: Sequence[Guard] = ()


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The holdout of one split, the gate, and what scores by a model."""

    log: RatingLog
    catalogue: Catalogue
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
        scorer = self.scorer(challenger, self.log, self.catalogue)
        ours = self._predict(challenger, scorer)
        means = self._predict(
            challenger, user_movie_mean(challenger.transform, self.log, self.catalogue)
        )
        ours.save(folder / PREDICTIONS)
        means.save(folder / BASELINE_PREDICTIONS)
        masks = slices(self.log, self.split)
        objection = self._objection(challenger, champion) if champion else None
        if objection:
            found = _Judgement(unfair(objection))
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
        other = self.scorer(champion, self.log, self.catalogue)
        theirs = self._predict(champion, other)
        difference = streaming_difference(ours, theirs, self.gate)
        lists = (self._lists(scorer), self._lists(other))
        found = guards((ours, theirs), difference, masks, lists, self.gate)
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
        return Predictions.of(self.log, self.split, model.transform.spec.history, scorer)

    def _lists(self, scorer: Scorer) -> TopLists:
        return TopLists.of(self.log, self.split.as_of, scorer)

    def _pooled(
        self, present: tuple[Predictions, Predictions], earlier: Sequence[Artifact]
    ) -> Pooled | None:
        if not earlier:
            return None
        return pool(
            windows_of(earlier, present, self.split.holdout_from),
            len(earlier) + 1,
            generator=np.random.default_rng(BOOTSTRAP_SEED),
            replicates=self.gate.replicates,
            confidence=self.gate.confidence,
        )

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
