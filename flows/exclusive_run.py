"""One run at a time in a home, whoever started it, and of a late schedule the newest alone.

Processes that outlived the one which started them, ended by whoever comes next.

What a killed process leaves in Prefect, put right by the next run or the next runner.

A run marks its home while it works. Whoever holds the home's lock and finds a mark knows that its
run is dead: neither Prefect's temporary server nor a shared one would notice by itself. A run that
was killed before it could mark anything is found by whoever serves the deployments next.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, TypeVar
from uuid import UUID

import psutil
from prefect import State, get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.runtime import deployment, flow_run
from prefect.states import Completed, Crashed

from flows.environment import PID_VARIABLE
from widedeep.workspace import BusyError, Workspace


def stop_orphans() -> None:
    """End those whose starter, named in their environment, is dead."""
    for process, starter in processes_with(PID_VARIABLE):
        if not psutil.pid_exists(int(starter)):
            with suppress(psutil.Error):
                process.terminate()


def processes_with(variable: str) -> Iterator[tuple[psutil.Process, str]]:
    """The processes of this machine that began with a variable in their environment, and its value.

    Those that may not be looked into, or have just ended, are passed over.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            value = process.environ().get(variable)
            if value is not None:
                yield process, value


_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
"""By which Prefect tells a process which run it works on."""
_MESSAGE = "its process was killed; found by the next run"


@contextmanager
def mark_workspace(workspace: Workspace, run_id: str | None) -> Iterator[None]:
    """Mark the home with this run while the block works; first end the runs of earlier marks."""
    marks = workspace.root / "running"
    marks.mkdir(exist_ok=True)
    for mark in marks.iterdir():
        _crash(UUID(mark.name))
        mark.unlink()
    if run_id is None:
        yield
        return
    mark = marks / run_id
    mark.touch()
    try:
        yield
    finally:
        mark.unlink()


def end_dead_runs(tag: str) -> None:
    """End the runs with a tag that are under way and that no process of this machine works on."""
    under_way = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    runs = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way)),
    )
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=runs)
    alive = {worked_on for _, worked_on in processes_with(_RUN_VARIABLE)}
    for run in found:
        if str(run.id) not in alive:
            _crash(run.id)


def _crash(run_id: UUID) -> None:
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(run_id)
        except ObjectNotFound:
            return
        if run.state is not None and not run.state.is_final():
            client.set_flow_run_state(run_id, Crashed(message=_MESSAGE), force=True)
        _crash_tasks(client, run_id)


def _crash_tasks(client: SyncPrefectClient, run_id: UUID) -> None:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    for task in client.read_task_runs(flow_run_filter=of_run):
        if task.state is not None and not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=_MESSAGE), force=True)


PATIENCE = 3600.0
"""Seconds that a deployed run waits for a run that somebody started by hand."""

SKIPPED = "Skipped"
"""The state in which a run ends that gave way to a newer one."""

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def exclusive_run(workspace: Workspace) -> Iterator[None]:
    """Hold the home for a flow, once what a killed run left there is put right."""
    with _exclusive(workspace), mark_workspace(workspace, flow_run.id):
        workspace.stages.sweep()
        yield


@contextmanager
def _exclusive(workspace: Workspace) -> Iterator[None]:
    with ExitStack() as held:
        try:
            held.enter_context(workspace.exclusive())
        except BusyError as busy:
            if deployment.id is None:
                raise
            get_run_logger().info("waiting: %s", busy)
            held.enter_context(workspace.exclusive(PATIENCE))
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
