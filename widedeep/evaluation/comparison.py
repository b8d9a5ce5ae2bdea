"""Compare a challenger with the champion on the same holdout rows, and decide.

`Evaluator.compare` is the evaluation stage: it scores both models, measures metrics, intervals and
guardrails, and asks the gate for its decision. A first model has no champion; it is compared with
the baseline model. `streaming_difference`, `streaming_score` and `measure_guardrails` are the
measurements that the gate decides from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from widedeep import metrics
from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.evaluation.bootstrap import (
    BOOTSTRAP_SEED,
    Interval,
    PairedDifference,
    paired_bootstrap,
)
from widedeep.evaluation.gate import (
    Decision,
    GateConfig,
    Guardrail,
    StreamingScore,
    Verdict,
    decide_against_baseline,
    decide_against_champion,
)
from widedeep.evaluation.lists import Personalisation, TopLists, ranked_catalogue
from widedeep.evaluation.scoring import (
    BASELINE_PREDICTIONS,
    CHAMPION_PREDICTIONS,
    PREDICTIONS,
    HoldoutRows,
    Masks,
    ModelScorer,
    Predictions,
    Scorer,
    baseline_scorer,
    measure_slices,
    model_scorer,
    slice_masks,
)
from widedeep.evaluation.sequential import PooledDifference, disjoint_windows, pool_windows
from widedeep.features import FeatureTables
from widedeep.inputs import to_iso
from widedeep.model.trained_model import TrainedModel
from widedeep.store import Artifact


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of an evaluation on the `holdout`, which begins at `holdout_from` (UNIX seconds).

    `champion`, `champion_slices` and `difference` are None where the models are not comparable or
    there is no champion; a first model has the `difference` from the baseline model. `lists` says
    how far the top-10 lists of each model differ from user to user, by the names of the attributes
    above; they are figures, of which the guardrails watch the number of items alone.
    """

    holdout_from: int
    holdout: HoldoutRows
    challenger: Mapping[str, Any]
    champion: Mapping[str, Any] | None
    baseline: Mapping[str, Any]
    challenger_slices: Mapping[str, Any]
    champion_slices: Mapping[str, Any] | None
    lists: Mapping[str, Personalisation | None]
    difference: PairedDifference | None
    guardrails: Sequence[Guardrail]
    decision: Decision

    def as_json(self) -> dict[str, Any]:
        """Return JSON values, one key for each attribute; the guardrails have the key `guards`."""
        values = asdict(self)
        values["guards"] = values.pop("guardrails")
        return values


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A decision and the measurements behind it."""

    decision: Decision
    champion: Predictions | None = None
    champion_lists: TopLists | None = None
    difference: PairedDifference | None = None
    guardrails: Sequence[Guardrail] = ()


@dataclass(frozen=True, slots=True)
class Evaluator:
    """The holdout of one split, the gate, and the function that makes a model's scorer."""

    interactions: Interactions
    tables: FeatureTables
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
        scorer = self.scorer(challenger, self.interactions, self.tables)
        predictions = self._predict(scorer)
        baseline_score = baseline_scorer(challenger.transform, self.interactions, self.tables)
        baseline = self._predict(baseline_score)
        predictions.save(folder / PREDICTIONS, self.tables)
        baseline.save(folder / BASELINE_PREDICTIONS, self.tables)
        masks = slice_masks(self.interactions, self.split, self.tables)
        lists = self._top_lists(scorer)
        if champion is None:
            outcome = self._against_baseline(predictions, baseline, challenger.transform.prior)
        elif objection := self._objection(challenger, champion):
            outcome = _Outcome(Decision(Verdict.HOLD, (objection,)))
        else:
            outcome = self._against_champion(champion, predictions, lists, masks, earlier)
        if outcome.champion is not None:
            outcome.champion.save(folder / CHAMPION_PREDICTIONS, self.tables)
        return Comparison(
            self.split.holdout_from,
            HoldoutRows.read(folder / PREDICTIONS, self.split),
            predictions.measure(),
            outcome.champion.measure() if outcome.champion else None,
            baseline.measure(),
            measure_slices(predictions, masks),
            measure_slices(outcome.champion, masks) if outcome.champion else None,
            self._personalisation(
                {
                    "challenger": lists,
                    "champion": outcome.champion_lists,
                    "baseline": self._top_lists(baseline_score),
                }
            ),
            outcome.difference,
            outcome.guardrails,
            outcome.decision,
        )

    def _against_baseline(
        self, predictions: Predictions, baseline: Predictions, prior: float
    ) -> _Outcome:
        difference = streaming_difference(predictions, baseline, self.gate)
        constant = np.full(len(predictions.label), prior)
        decision = decide_against_baseline(
            difference,
            streaming_score(predictions),
            streaming_score(baseline),
            metrics.log_loss(predictions.label, constant),
            self.gate,
        )
        return _Outcome(decision, difference=difference)

    def _against_champion(
        self,
        champion: TrainedModel,
        challenger_predictions: Predictions,
        challenger_lists: TopLists,
        masks: Masks,
        earlier: Sequence[Artifact],
    ) -> _Outcome:
        scorer = self.scorer(champion, self.interactions, self.tables)
        predictions = self._predict(scorer)
        pair = challenger_predictions, predictions
        difference = streaming_difference(*pair, self.gate)
        lists = self._top_lists(scorer)
        guardrails = measure_guardrails(
            pair, difference, masks, (challenger_lists, lists), self.gate
        )
        decision = decide_against_champion(
            difference,
            streaming_score(challenger_predictions),
            streaming_score(predictions),
            guardrails,
            self.gate,
            pooled=self._pool(pair, earlier),
        )
        return _Outcome(decision, predictions, lists, difference, guardrails)

    def _predict(self, scorer: Scorer) -> Predictions:
        return Predictions.compute(self.interactions, self.split, scorer)

    def _top_lists(self, scorer: Scorer) -> TopLists:
        return TopLists.compute(self.interactions, self.split.as_of, scorer)

    def _personalisation(
        self, lists: Mapping[str, TopLists | None]
    ) -> dict[str, Personalisation | None]:
        """Measure the lists of each model; None where there are none."""
        catalogue = ranked_catalogue(self.interactions, self.split.as_of)
        return {
            name: None if shown is None else shown.personalisation(*catalogue)
            for name, shown in lists.items()
        }

    def _pool(
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
        """Return why the two models are not comparable on this holdout, or None if they are."""
        if champion.learned_until > self.split.holdout_from:
            return (
                f"not comparable: the champion has seen interactions up to "
                f"{to_iso(champion.learned_until)}, after the start of this holdout "
                f"({to_iso(self.split.holdout_from)})"
            )
        label, champion_label = challenger.transform.spec.label, champion.transform.spec.label
        if label != champion_label:
            return (
                f"not comparable: an interaction is positive if {label} for the challenger, "
                f"if {champion_label} for the champion"
            )
        return None


def streaming_score(predictions: Predictions) -> StreamingScore:
    """Return AUC and log loss under streaming; raise InputError if the rows have one class only."""
    return StreamingScore(
        metrics.auc(predictions.label, predictions.streaming),
        metrics.log_loss(predictions.label, predictions.streaming),
    )


def streaming_difference(
    challenger: Predictions,
    champion: Predictions,
    gate: GateConfig,
    rows: NDArray[np.bool_] | None = None,
) -> PairedDifference:
    """Return challenger minus champion under streaming, with the intervals that the gate asks for.

    Args:
        challenger: Predictions of n rows.
        champion: Predictions of the same rows.
        gate: Its replicates and confidence are used.
        rows: Mask of the rows to compare, (n,); None for all.

    Raises:
        InputError: the rows have one class only, or nearly.
    """
    chosen = slice(None) if rows is None else rows
    return paired_bootstrap(
        challenger.label[chosen],
        challenger.streaming[chosen],
        champion.streaming[chosen],
        challenger.user[chosen],
        generator=np.random.default_rng(BOOTSTRAP_SEED),
        replicates=gate.replicates,
        confidence=gate.confidence,
    )


def measure_guardrails(
    predictions: tuple[Predictions, Predictions],
    difference: PairedDifference,
    masks: Masks,
    lists: tuple[TopLists, TopLists],
    gate: GateConfig,
) -> list[Guardrail]:
    """Measure log loss, calibration, AUC of each slice with enough rows, and the items shown.

    Args:
        predictions: The challenger's and the champion's.
        difference: Their difference on the whole holdout.
        masks: The slices, (n,) each, by name.
        lists: The challenger's and the champion's top-10 lists for the same users.
        gate: The margins.
    """
    label = predictions[0].label
    loss, champion_loss = (metrics.log_loss(label, model.streaming) for model in predictions)
    ece, champion_ece = (metrics.ece(label, model.streaming) for model in predictions)
    return [
        Guardrail(
            "streaming log loss", loss, champion_loss, difference.log_loss, gate.log_loss_margin
        ),
        Guardrail(
            "streaming calibration error", ece, champion_ece, difference.ece, gate.ece_margin
        ),
        *_slice_guardrails(predictions, masks, gate),
        _coverage_guardrail(lists, gate),
    ]


def _slice_guardrails(
    predictions: tuple[Predictions, Predictions], masks: Masks, gate: GateConfig
) -> Iterator[Guardrail]:
    label, user = predictions[0].label, predictions[0].user
    for name, rows in masks.items():
        users, classes = len(np.unique(user[rows])), len(np.unique(label[rows]))
        if rows.sum() < gate.minimum_rows or users < gate.minimum_users or classes == 1:
            continue
        auc, champion_auc = (
            metrics.auc(label[rows], model.streaming[rows]) for model in predictions
        )
        change = streaming_difference(*predictions, gate, rows).auc
        title = f"streaming AUC of {slice_title(name)}"
        yield Guardrail(title, auc, champion_auc, change, -gate.slice_margin)


def slice_title(name: str) -> str:
    """Return a slice's name in words: `new_user` → new users; `device=mobile` as it is."""
    return name if "=" in name else f"{name.replace('_', ' ')}s"


def _coverage_guardrail(lists: tuple[TopLists, TopLists], gate: GateConfig) -> Guardrail:
    """Guard against a model that shows every user the same few items: it may have a better AUC."""
    shown, champion_shown = (float(top.coverage()) for top in lists)
    difference = shown - champion_shown
    change = Interval(difference, difference, difference)
    margin = -max(gate.coverage_margin * champion_shown, 1.0)
    return Guardrail("items in top-10 lists", shown, champion_shown, change, margin)
