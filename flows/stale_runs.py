"""What a killed process leaves in Prefect, put right by the next run or the next runner.

A run marks its home while it works. Whoever holds the home's lock and finds a mark knows that its
run is dead: neither Prefect's temporary server nor a shared one would notice by itself. A run that
was killed before it could mark anything is found by whoever serves the deployments next.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.orphans import processes_with
from widedeep.home import Home

_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
"""By which Prefect tells a process which run it works on."""
_MESSAGE = "its process was killed; found by the next run"


@contextmanager
def marked(home: Home, run_id: str | None) -> Iterator[None]:
    """Mark the home with this run while the block works; first end the runs of earlier marks."""
    marks = home.root / "running"
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
