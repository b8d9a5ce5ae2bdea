"""What every flow needs around its work: a name, a stopwatch, and the workspace for itself alone.

Two runs never work in one workspace at once, whichever way they were started, and of several late
runs of a schedule only the newest works. A run marks the workspace while it works. The next holder
of the workspace's lock that finds a mark knows that its run is dead, which neither Prefect's
temporary server nor a shared one would notice by itself. A run that was killed before it could mark
anything is ended by `end_dead_runs` when the deployments are served again.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from coolname.data import config as coolname_parts
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

from flows.environment import command_started, processes_with
from tasks.run_form import DataSet, Moments
from widedeep import Workspace
from widedeep.inputs import to_iso
from widedeep.workspace import BusyError

PATIENCE = 3600.0
"""Seconds that a run of a deployment waits for another run to leave the workspace."""

SKIPPED = "Skipped"
"""Name of the state in which a run ends that left the work to a newer one."""

_RUN_VARIABLE = "PREFECT__FLOW_RUN_ID"
"""Holds, in a process that Prefect starts, the id of the run that the process works on."""
_DEAD = "its process was killed; noticed by the next run"

_GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|"
    "sigma|tau|upsilon|phi|chi|psi|omega"
)
_PROPOSED_NAME = re.compile(rf"(?:{_GREEK})\d*(?:-[a-z]+)*")
"""What the run form of Prefect's UI proposes: a Greek letter, a star or a place, and an ending."""

P = ParamSpec("P")
R = TypeVar("R")


def run_name() -> str:
    """Return the name of the present run, as `retrain kmrd-small as of 2018-10-01`."""
    parameters = flow_run.parameters
    data = Path(str(DataSet.model_validate(parameters["data"]))).name
    as_of = Moments.model_validate(parameters.get("moments", {})).as_of
    known = "" if as_of is None else f" as of {to_iso(as_of)[:10]}"
    return keep_given_name(f"{flow_run.flow_name} {data}{known}")


def keep_given_name(description: str) -> str:
    """Return the name that a person gave the present run, else the `description` of the run.

    Prefect asks for a name whenever a run begins, also when it has one. A name that Prefect made up
    itself (`wise-panda`) gives way. The one that the run form proposes (`pi97-nigala-z`) is added
    in parentheses, because the form has announced the run by it. Any other name was typed, and
    stays.
    """
    name = flow_run.name
    if not name or _is_made_up(name):
        return description
    return f"{description} ({name})" if _PROPOSED_NAME.fullmatch(name) else name


def _is_made_up(name: str) -> bool:
    """Return whether a name is a pair of the words of which Prefect makes up names."""
    parts = cast("Mapping[str, Mapping[str, Any]]", coolname_parts).values()
    words = {word for part in parts for word in part.get("words", ())}
    first, _, second = name.partition("-")
    return {first, second} <= words


class Stopwatch:
    """Measures the seconds of each stage and of the whole run, from the call of its command on."""

    def __init__(self) -> None:
        self._started = command_started() or time.perf_counter()
        self._stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure how long the block takes."""
        started = time.perf_counter()
        yield
        self._stages[name] = time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage and the `total` up to now, rounded to milliseconds."""
        total = {"total": time.perf_counter() - self._started}
        return {name: round(value, 3) for name, value in (self._stages | total).items()}


@contextmanager
def exclusive_run(workspace: Workspace) -> Iterator[None]:
    """Hold the workspace for a flow, after cleaning up what a killed run left there.

    Raises:
        BusyError: Another run holds it, and this one is no run of a deployment, or waited in vain.
    """
    with ExitStack() as stack:
        _enter_exclusive(workspace, stack)
        stack.enter_context(mark_workspace(workspace, flow_run.id))
        workspace.stages.remove_drafts()
        yield


def newest_only(flow: Callable[P, R]) -> Callable[P, R]:
    """Skip a scheduled run of `flow` if a later run of the same schedule is due as well.

    After a pause or a long run all runs that became due are started one after another. A single
    one, with all that is known by now, is enough.
    """

    @wraps(flow)
    def newest(*args: P.args, **kwargs: P.kwargs) -> R | State[R]:
        if _later_run_is_due():
            return Completed(name=SKIPPED, message="a later run of this schedule is due")
        return flow(*args, **kwargs)

    return newest  # type: ignore[return-value]  # Prefect ends the run in the state it is given


@contextmanager
def mark_workspace(workspace: Workspace, run_id: str | None) -> Iterator[None]:
    """Mark the workspace with this run while the block works; end the runs of earlier marks."""
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
    """End the runs with a tag that are unfinished and that no process of this machine works on."""
    unfinished = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
    tagged = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[tag]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=unfinished)),
    )
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=tagged)
    alive = {run_id for _, run_id in processes_with(_RUN_VARIABLE)}
    for run in runs:
        if str(run.id) not in alive:
            _crash(run.id)


def _enter_exclusive(workspace: Workspace, stack: ExitStack) -> None:
    try:
        stack.enter_context(workspace.exclusive())
    except BusyError as busy:
        if deployment.id is None:
            raise
        get_run_logger().info("waiting: %s", busy)
        stack.enter_context(workspace.exclusive(PATIENCE))


def _later_run_is_due() -> bool:
    if deployment.id is None or flow_run.id is None:
        return False
    with get_client(sync_client=True) as client:
        this_run = client.read_flow_run(UUID(flow_run.id))
        if not this_run.auto_scheduled or this_run.expected_start_time is None:
            return False
        due = FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[UUID(deployment.id)]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
            expected_start_time=FlowRunFilterExpectedStartTime(
                after_=this_run.expected_start_time, before_=datetime.now(UTC)
            ),
        )
        runs = client.read_flow_runs(flow_run_filter=due)
    return any(run.auto_scheduled and run.id != this_run.id for run in runs)


def _crash(run_id: UUID) -> None:
    """Set a run that the server knows, and its tasks, to Crashed unless they have ended."""
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(run_id)
        except ObjectNotFound:
            return
        if run.state is not None and not run.state.is_final():
            client.set_flow_run_state(run_id, Crashed(message=_DEAD), force=True)
        _crash_tasks(client, run_id)


def _crash_tasks(client: SyncPrefectClient, run_id: UUID) -> None:
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    for task in client.read_task_runs(flow_run_filter=of_run):
        if task.state is not None and not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=_DEAD), force=True)
