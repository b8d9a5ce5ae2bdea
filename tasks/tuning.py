"""Search for settings on validation, with Optuna: the holdout is never looked at."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.engine import TRAINING_SECONDS
from tasks.run import TUNED, RunContext
from widedeep.features.training_data import TrainingData
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import SPACE, Preset, Range, Setting, settings_of, with_settings
from widedeep.model.trainer import EpochResult
from widedeep.store import Artifact, code_version, content_id

_STARTUP_TRIALS = 5
_WARMUP_EPOCHS = 1
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class TuningTrial:
    """One trial: its settings, its epochs, its best validation loss (in nats).

    `pruned` says whether it was stopped for being worse than others.
    """

    settings: Mapping[str, Setting]
    epochs: tuple[EpochResult, ...]
    loss: float
    pruned: bool


class TuningSearch:
    """A study of one data set, split and preset; the same one is gone on with.

    Optuna's storage lies in the home, so a search that was killed loses the trial under way.
    """

    def __init__(self, job: RunContext, encoded: Artifact) -> None:
        self._job = job
        self._plan = TrainingData.load(encoded.path)
        key = {
            "features": encoded.id,
            "preset": job.preset.as_json(),
            "seed": job.seed,
            "space": repr(dict(SPACE)),
            "code": code_version("features", "model"),
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=f"sqlite:///{job.workspace.root / 'tune.db'}",
            study_name=f"{job.ingested.model}-{content_id(key)}",
            sampler=optuna.samplers.TPESampler(seed=job.seed, n_startup_trials=_STARTUP_TRIALS),
            pruner=optuna.pruners.MedianPruner(_STARTUP_TRIALS, _WARMUP_EPOCHS),
            load_if_exists=True,
        )
        for cut_off in self._trials(TrialState.RUNNING):
            self.study.tell(cut_off.number, state=TrialState.FAIL)
        if not self._trials(TrialState.WAITING, *_FINISHED):
            self.study.enqueue_trial(settings_of(job.preset))

    @property
    def title(self) -> str:
        """Data and as-of, for people."""
        return self._job.title

    @property
    def finished(self) -> int:
        """How many trials have an end, pruned ones included."""
        return len(self._trials(*_FINISHED))

    @property
    def first_loss(self) -> float | None:
        """Validation loss (in nats) of the preset, which is tried first."""
        return self._trials(*_FINISHED)[0].value

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=states)

    def try_next(self) -> TuningTrial:
        """Train with the next settings until validation stops improving, or is clearly worse."""
        trial = self.study.ask(_distributions())
        preset_ = with_settings(self._job.preset, trial.params, TUNED)
        epochs, best, pruned = [], inf, False
        for result, loss in self._validated(preset_):
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

    def _validated(self, preset_: Preset) -> Iterator[tuple[EpochResult, float]]:
        """The epochs that are judged, with their loss; catching up after them is left out."""
        for result in TrainingRun(self._plan, preset_, None, self._job.seed).epochs():
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
    """One trial of a search."""
    del number  # names the task run
    return search.try_next()


def _distributions() -> dict[str, BaseDistribution]:
    return {
        path: FloatDistribution(space.low, space.high, log=space.log)
        if isinstance(space, Range)
        else CategoricalDistribution(space.options)
        for path, space in SPACE.items()
    }
