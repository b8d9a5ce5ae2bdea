"""What a killed process leaves in Prefect, put right by the next run.

A run marks its home while it works. Whoever holds the home's lock and finds a mark knows that its
run is dead: neither Prefect's temporary server nor a shared one would notice by itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from widedeep.home import Home

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
