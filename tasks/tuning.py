"""Search for better settings with Optuna, judged on validation; the holdout is never used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.engine import TRAINING_SECONDS
from tasks.run import RunContext
from widedeep import Artifact, Preset, TrainingData, TrainingRun
from widedeep.inputs import PresetName
from widedeep.model.presets import SEARCH_SPACE, Range, Setting, searchable_settings, with_settings
from widedeep.model.trainer import EpochResult
from widedeep.store import code_version, content_id

_STARTUP_TRIALS = 5
_WARMUP_EPOCHS = 1
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class TuningTrial:
    """The result of one trial.

    Attributes:
        settings: The tried value of each setting of `SEARCH_SPACE`, by path.
        epochs: The epochs that were trained.
        loss: The best validation loss, in nats.
        pruned: Whether the trial was stopped early because it was worse than others.
    """

    settings: Mapping[str, Setting]
    epochs: tuple[EpochResult, ...]
    loss: float
    pruned: bool


class TuningSearch:
    """An Optuna study of one data set, split and preset; it continues where an earlier one stopped.

    Optuna's storage lies in the workspace, so a search that was killed loses only the trial that
    was being trained.
    """

    def __init__(self, context: RunContext, encoded: Artifact) -> None:
        self._job = context
        self._training_data = TrainingData.load(encoded.path)
        key = {
            "features": encoded.id,
            "preset": context.preset.as_json(),
            "seed": context.seed,
            "space": repr(dict(SEARCH_SPACE)),
            "code": code_version("model"),
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=f"sqlite:///{context.workspace.root / 'tune.db'}",
            study_name=f"{context.ingested.model}-{content_id(key)}",
            sampler=optuna.samplers.TPESampler(seed=context.seed, n_startup_trials=_STARTUP_TRIALS),
            pruner=optuna.pruners.MedianPruner(_STARTUP_TRIALS, _WARMUP_EPOCHS),
            load_if_exists=True,
        )
        for interrupted in self._trials(TrialState.RUNNING):
            self.study.tell(interrupted.number, state=TrialState.FAIL)
        if not self._trials(TrialState.WAITING, *_FINISHED):
            self.study.enqueue_trial(searchable_settings(context.preset))

    @property
    def title(self) -> str:
        """Return the data set and the as-of, as shown on the task run."""
        return self._job.title

    @property
    def finished(self) -> int:
        """Return the number of trials that ended, pruned ones included."""
        return len(self._trials(*_FINISHED))

    @property
    def first_loss(self) -> float | None:
        """Return the validation loss (in nats) of the preset, which is the first trial."""
        return self._trials(*_FINISHED)[0].value

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def try_next(self) -> TuningTrial:
        """Train with the next settings until validation stops improving or the trial is pruned."""
        trial = self.study.ask(_distributions())
        preset = with_settings(self._job.preset, trial.params, PresetName.TUNED)
        epochs, best, pruned = [], inf, False
        for result, loss in self._validated(preset):
            epochs.append(result)
            best = min(best, loss)
            trial.report(loss, result.epoch)
            pruned = trial.should_prune()
            if pruned:
                break
        if pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, best)
        return TuningTrial(trial.params, tuple(epochs), best, pruned)

    def _validated(self, preset: Preset) -> Iterator[tuple[EpochResult, float]]:
        """Yield each epoch that has a validation loss, with that loss; do not catch up then."""
        for result in TrainingRun(self._training_data, preset, None, self._job.seed).epochs():
            if result.validation_loss is None:
                return
            yield result, result.validation_loss


@task(
    name="try settings",
    task_run_name="trial {number} on {search.title}",
    cache_policy=NO_CACHE,
    timeout_seconds=TRAINING_SECONDS,
)
def try_settings(search: TuningSearch, number: int) -> TuningTrial:
    """Run trial `number` of a search and return its result."""
    del number  # it only appears in the name of the task run
    return search.try_next()


def _distributions() -> dict[str, BaseDistribution]:
    return {
        path: FloatDistribution(space.low, space.high, log=space.log)
        if isinstance(space, Range)
        else CategoricalDistribution(space.options)
        for path, space in SEARCH_SPACE.items()
    }
