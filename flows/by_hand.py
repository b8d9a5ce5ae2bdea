"""Moves of the champion by hand, from the command line and from Prefect's run form."""

from dataclasses import dataclass

from prefect import flow

from flows.environment import default_home
from flows.holding import holding
from flows.registered import registry_of
from tasks.announcement import announce
from tasks.dry_run import Stranger
from tasks.registry import PROMOTE, ROLLBACK
from widedeep.errors import InputError
from widedeep.evaluation.promotion import GateConfig
from widedeep.home import Home


@dataclass(frozen=True, slots=True)
class Moved:
    """A model, and the number of the version that serves now."""

    model: str
    version: str


def promote(home: Home, model: str | None, version: str, reason: str) -> Moved:
    """Let a version serve if it passes a dry run; for the holder of the home's lock.

    Raises:
        InputError: There is no such model or version, it serves already, it fails the dry run, or
            no reason was given.
    """
    registry = registry_of(home, model)
    found = registry.candidate(version, reason)
    with Stranger() as stranger:
        tried = stranger.try_out(found.folder, GateConfig().latency_budget)
    if tried.faults:
        faults = "; ".join(tried.sentences())
        raise InputError(f"{registry.model} version {found.number} was not promoted: {faults}")
    registry.promote(found, reason)
    return Moved(registry.model, found.number)


def roll_back(home: Home, model: str | None, reason: str) -> Moved:
    """Let the previous champion serve again, at once; otherwise as `promote`."""
    registry = registry_of(home, model)
    return Moved(registry.model, registry.roll_back(reason).number)


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
    home = default_home()
    with holding(home):
        return _told(PROMOTE, promote(home, model, version, reason), reason)


@flow(name="rollback", flow_run_name="roll back")
def rollback(reason: str, model: str | None = None) -> str:
    """Let the previous champion serve again.

    Args:
        reason: A sentence for those who ask later.
        model: Wanted only where there are several.

    Returns:
        The number of the version that serves now.
    """
    home = default_home()
    with holding(home):
        return _told(ROLLBACK, roll_back(home, model, reason), reason)


def _told(action: str, moved: Moved, reason: str) -> str:
    announce(moved.model, action, moved.version, moved.version, [f"by hand: {reason}"])
    return moved.version
