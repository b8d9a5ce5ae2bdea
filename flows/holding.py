"""One run at a time in a home, whoever started it, and of a late schedule the newest alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

from prefect import State, get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.runtime import deployment, flow_run
from prefect.states import Completed

from flows.stale_runs import marked
from widedeep.home import BusyError, Home

PATIENCE = 3600.0
"""Seconds that a deployed run waits for a run that somebody started by hand."""

SKIPPED = "Skipped"
"""The state in which a run ends that gave way to a newer one."""

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def holding(home: Home) -> Iterator[None]:
    """Hold the home for a flow, once what a killed run left there is put right."""
    with _exclusive(home), marked(home, flow_run.id):
        home.stages.sweep()
        yield


@contextmanager
def _exclusive(home: Home) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(home.exclusive())
        except BusyError as busy:
            if deployment.id is None:
                raise
            get_run_logger().info("waiting: %s", busy)
            held.enter_context(home.exclusive(PATIENCE))
        yield


def newest_only(flow: Callable[P, R]) -> Callable[P, R]:
    """Let a scheduled run give way to a later one of its schedule that is due as well.

    After a pause or a long run everything that was due is started, one after another; with all that
    is known by now, once is enough.
    """

    @wraps(flow)
    def newest(*args: P.args, **kwargs: P.kwargs) -> R | State[R]:
        if _is_outrun():
            return Completed(name=SKIPPED, message="a later run of this schedule is due")
        return flow(*args, **kwargs)

    return newest  # type: ignore[return-value]  # Prefect ends the run in a state it is given


def _is_outrun() -> bool:
    if deployment.id is None or flow_run.id is None:
        return False
    with get_client(sync_client=True) as client:
        mine = client.read_flow_run(UUID(flow_run.id))
        if not mine.auto_scheduled or mine.expected_start_time is None:
            return False
        due = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[UUID(deployment.id)]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(
                after_=mine.expected_start_time, before_=datetime.now(UTC)
            ),
        )
        found = client.read_flow_runs(flow_run_filter=due)
    return any(run.auto_scheduled and run.id != mine.id for run in found)
