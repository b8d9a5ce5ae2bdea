"""Moves of the champion by hand, as flows with a run form in Prefect.

The commands `widedeep promote` and `widedeep rollback` do the same without Prefect.
"""

from functools import partial

from prefect import flow
from prefect.runtime import flow_run

from flows.environment import default_workspace
from flows.exclusive_run import exclusive_run, keep_given_name
from tasks.prefect_page import announce
from tasks.registry import PROMOTE, ROLLBACK, open_registry, promote_after_dry_run


def _promotion_name() -> str:
    return keep_given_name(f"promote version {flow_run.parameters['version']}")


@flow(name="promote", flow_run_name=_promotion_name)
def promote_by_hand(version: str, reason: str, model: str | None = None) -> str:
    """Let a version serve that the gate did not choose.

    Args:
        version: Its number or alias, as MLflow and `widedeep status` show it.
        reason: A sentence for those who ask later.
        model: The registered model; needed if there are several.

    Returns:
        The number of the version that serves now.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        registry = open_registry(workspace, model)
        number = promote_after_dry_run(registry, version, reason).number
        announce(registry.model, PROMOTE, number, number, [f"by hand: {reason}"])
    return number


@flow(name="rollback", flow_run_name=partial(keep_given_name, "roll back"))
def rollback(reason: str, model: str | None = None) -> str:
    """Let the previous champion serve again.

    Args:
        reason: A sentence for those who ask later.
        model: The registered model; needed if there are several.

    Returns:
        The number of the version that serves now.
    """
    workspace = default_workspace()
    with exclusive_run(workspace):
        registry = open_registry(workspace, model)
        number = registry.roll_back(reason).number
        announce(registry.model, ROLLBACK, number, number, [f"by hand: {reason}"])
    return number
