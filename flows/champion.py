"""Moves of the champion by hand, from the command line and from Prefect's run form.

Which registered model a command means.
"""

from dataclasses import dataclass

from prefect import flow

from flows.environment import default_workspace
from flows.exclusive_run import exclusive_run
from tasks.dry_run import DryRunProcess
from tasks.prefect_page import announce
from tasks.promotion import PROMOTE, ROLLBACK, Registry
from tasks.tracking import Tracker
from widedeep.decision_log import chosen_model
from widedeep.evaluation.gate import GateConfig
from widedeep.inputs import InputError
from widedeep.model.trained_model import ModelVersion
from widedeep.workspace import Workspace


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a model, and the tracker that knows it."""

    tracker: Tracker
    model: str
    version: ModelVersion

    @property
    def title(self) -> str:
        """Both names, for people."""
        return f"{self.model} version {self.version.number}"


def choose_version(workspace: Workspace, model: str | None, version: str) -> RegisteredModel:
    """The version (a number or an alias) of `model`, or of the only one in the home.

    Raises:
        InputError: There is no such model or version, or several models to choose from.
    """
    tracker = _tracker(workspace)
    chosen = _model(tracker.models(), model)
    found = tracker.find(chosen, version)
    if found is None:
        wanted = "its number or an alias (champion, previous, challenger) is wanted"
        raise InputError(f"{chosen} has no version {version!r}; {wanted}, see widedeep status")
    return RegisteredModel(tracker, chosen, found)


def registry_of(workspace: Workspace, model: str | None) -> Registry:
    """The registry of `model`, or of the only one in the home; raises InputError as `choose_version`."""
    tracker = _tracker(workspace)
    return Registry(workspace, tracker, _model(tracker.models(), model))


def _tracker(workspace: Workspace) -> Tracker:
    if not workspace.tracked:
        raise InputError(f"no model yet in {workspace.root}; begin with: widedeep retrain")
    return Tracker(workspace)


def _model(models: list[str], wanted: str | None) -> str:
    if not models:
        raise InputError("no model yet; begin with: widedeep retrain")
    return chosen_model(models, wanted)


@dataclass(frozen=True, slots=True)
class ChampionMove:
    """A model, and the number of the version that serves now."""

    model: str
    version: str


def promote(workspace: Workspace, model: str | None, version: str, reason: str) -> ChampionMove:
    """Let a version serve if it passes a dry run; for the holder of the home's lock.

    Raises:
        InputError: There is no such model or version, it serves already, it fails the dry run, or
            no reason was given.
    """
    registry = registry_of(workspace, model)
    found = registry.candidate(version, reason)
    with DryRunProcess() as stranger:
        tried = stranger.try_out(found.folder, GateConfig().latency_budget)
    if tried.faults:
        faults = "; ".join(tried.sentences())
        raise InputError(f"{registry.model} version {found.number} was not promoted: {faults}")
    registry.promote(found, reason)
    return ChampionMove(registry.model, found.number)


def roll_back(workspace: Workspace, model: str | None, reason: str) -> ChampionMove:
    """Let the previous champion serve again, at once; otherwise as `promote`."""
    registry = registry_of(workspace, model)
    return ChampionMove(registry.model, registry.roll_back(reason).number)


@flow(name="promote", flow_run_name="promote version {version}")
def promote_by_hand(version: str, reason: str, model: str | None = None) -> str:
    """Let a version serve that the gate did not choose.

    Args:
        version: Its number or alias, as MLflow and `widedeep status` show it.
        reason: A sentence for those who ask later.
        model: Wanted only where there are several.

    Returns:
        The number of the version that serves now.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        return _told(PROMOTE, promote(workspace, model, version, reason), reason)


@flow(name="rollback", flow_run_name="roll back")
def rollback(reason: str, model: str | None = None) -> str:
    """Let the previous champion serve again.

    Args:
        reason: A sentence for those who ask later.
        model: Wanted only where there are several.

    Returns:
        The number of the version that serves now.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        return _told(ROLLBACK, roll_back(workspace, model, reason), reason)


def _told(action: str, moved: ChampionMove, reason: str) -> str:
    announce(moved.model, action, moved.version, moved.version, [f"by hand: {reason}"])
    return moved.version
