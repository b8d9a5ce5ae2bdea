"""The flows as a Prefect server offers them: on schedule, on new data, and on a press of Run.

`python -m flows.deployments` serves the deployments to the server that PREFECT_API_URL names, with
automations that end dead runs and send notices, and announces new files of the data's folder.
`python -m flows.deployments --prefect-yaml` prints the same deployments for work pools: that is the
file prefect.yaml.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast
from uuid import UUID

import yaml
from prefect import serve
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.events import DeploymentEventTrigger, EventTrigger
from prefect.events.actions import CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound
from prefect.flows import Flow
from prefect.types.entrypoint import EntrypointType

from flows.champion import promote_by_hand, rollback
from flows.environment import default_workspace
from flows.exclusive_run import SKIPPED, end_dead_runs
from flows.replay import replay
from flows.retrain import retrain
from flows.tune import tune
from tasks.prefect_page import ARRIVED, DECISION, announce_arrival
from tasks.run_form import DataSet
from widedeep import InputError
from widedeep.store import atomic_write

WEEKLY = "0 4 * * 1"
"""When retrain/scheduled runs by default (cron, UTC): Mondays at 4."""

TAG = "widedeep"
"""Tag of the deployments and their runs, and name of the work pool in prefect.yaml."""

FORMER_NAMES = ("promote/manual", "rollback/manual")
"""Deployments of earlier versions; a server that still offers them would never start their runs."""

_NEW_DATA = {
    "name": "widedeep: new data",
    "expect": [ARRIVED],
    "parameters": {"data": {"folder": "{{ event.payload.folder }}"}},
}
_PREFECT_YAML = """\
# Written by `python -m flows.deployments --prefect-yaml`; change flows/deployments.py instead.
# For work pools: `WIDEDEEP_CHECKOUT=$PWD prefect deploy --all`, with a worker beside the workspace:
#   prefect work-pool create widedeep --type process
#   prefect work-pool set-concurrency-limit widedeep 1
#   prefect worker start --pool widedeep
# `widedeep up` offers the same deployments without a pool.
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A flow as it is offered on a Prefect server.

    Attributes:
        flow: What a run executes.
        name: The deployment is `<name of the flow>/<name>`.
        cron: When it runs by itself (UTC). None: never.
        trigger: The event that starts a run, as in prefect.yaml. None: no event does.
        has_data: Whether the flow reads a data set, which its run form begins with.
    """

    flow: Flow[..., Any]
    name: str
    cron: str | None = None
    trigger: Mapping[str, Any] | None = None
    has_data: bool = True

    @property
    def description(self) -> str:
        """The flow's docstring without its arguments."""
        return (self.flow.__doc__ or "").partition("Args:")[0].strip()

    @property
    def entrypoint(self) -> str:
        """The flow's file and function, as `flows/retrain.py:retrain`."""
        function = self.flow.fn
        return f"{function.__module__.replace('.', '/')}.py:{function.__name__}"


def all_deployments(cron: str = WEEKLY) -> list[Deployment]:
    """Return every deployment there is; `cron` is the schedule of retrain/scheduled."""
    return [
        Deployment(retrain, "scheduled", cron=cron),
        Deployment(retrain, "on-new-data", trigger=_NEW_DATA),
        Deployment(replay, "backfill"),
        Deployment(tune, "search"),
        Deployment(promote_by_hand, "promote-by-hand", has_data=False),
        Deployment(rollback, "rollback-by-hand", has_data=False),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the deployments until a signal ends the process; return the exit status."""
    parser = argparse.ArgumentParser("python -m flows.deployments")
    parser.add_argument("--data", default="auto", help="what the run forms begin with")
    parser.add_argument("--cron", default=WEEKLY, help="when retrain/scheduled runs, in UTC")
    parser.add_argument("--notify", metavar="BLOCK", help="reports failures and decisions")
    parser.add_argument("--prefect-yaml", action="store_true", help="print prefect.yaml and exit")
    options = parser.parse_args(arguments)
    if options.prefect_yaml:
        sys.stdout.write(prefect_yaml())
        return 0
    data = DataSet.parse(options.data)
    try:
        notices = notice_automations(options.notify) if options.notify else []
    except InputError as error:
        sys.stderr.write(f"widedeep: {error}\n")
        return 2
    for automation in (crash_automation(), *notices):
        put_automation(automation)
    remove_deployments(FORMER_NAMES)
    end_dead_runs(TAG)
    with watching(_folder_watch(data)):
        # The schedule stays active while nothing serves it: the newest of the runs that become due
        # meanwhile is run afterwards.
        serve(
            *(_to_runner(deployment, data) for deployment in all_deployments(options.cron)),
            limit=1,
            pause_on_shutdown=False,
            print_starting_message=False,
        )
    return 0


def remove_deployments(names: Iterable[str]) -> None:
    """Remove deployments from the server; names that it does not know are passed over."""
    with get_client(sync_client=True) as client:
        for name in names:
            with suppress(ObjectNotFound):
                client.delete_deployment(client.read_deployment_by_name(name).id)


def prefect_yaml() -> str:
    """Return the deployments as the text of prefect.yaml, for `prefect deploy --all`."""
    step = "prefect.deployments.steps.set_working_directory"
    project = {
        "name": "widedeep",
        "pull": [{step: {"directory": "{{ $WIDEDEEP_CHECKOUT }}"}}],
        "deployments": [_to_yaml(deployment) for deployment in all_deployments()],
    }
    return f"{_PREFECT_YAML}{yaml.safe_dump(project, sort_keys=False)}"


def _to_yaml(deployment: Deployment) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": deployment.name,
        "entrypoint": deployment.entrypoint,
        "work_pool": {"name": TAG},
        "tags": [TAG],
    }
    if deployment.cron is not None:
        values["schedules"] = [{"cron": deployment.cron, "timezone": "UTC"}]
    if deployment.trigger is not None:
        values["triggers"] = [{"type": "event", **deployment.trigger}]
    return values


def _to_runner(deployment: Deployment, data: DataSet) -> RunnerDeployment:
    trigger = deployment.trigger
    return RunnerDeployment.from_flow(
        deployment.flow,
        deployment.name,
        parameters={"data": data.model_dump(mode="json")} if deployment.has_data else {},
        description=deployment.description,
        tags=[TAG],
        cron=deployment.cron,
        triggers=None if trigger is None else [DeploymentEventTrigger.model_validate(trigger)],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )


SILENCE = timedelta(seconds=90)
"""Time without a sign of life after which a run counts as dead: three heartbeats."""

_RUN = "prefect.flow-run"
_FAILURES = {f"{_RUN}.{state}" for state in ("Failed", "TimedOut", "Crashed")}
_ENDS = _FAILURES | {f"{_RUN}.{state}" for state in ("Completed", SKIPPED, "Cancelled")}
"""Events are named after a state's name, not after its type."""


def crash_automation() -> AutomationCore:
    """Return an automation that ends runs which were killed together with their runner.

    Without it they would stay Running: no process is left to report their end.
    """
    heartbeat = f"{_RUN}.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *_ENDS},
        match=ResourceSpecification({"prefect.resource.id": f"{_RUN}.*"}),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    crash = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message="no sign of life; its process is dead"
    )
    return AutomationCore(name="widedeep: end dead runs", trigger=trigger, actions=[crash])


def notice_automations(block: str) -> list[AutomationCore]:
    """Return automations that report failures and decisions through a block.

    Args:
        block: Type and name of the block, as `slack-webhook/team`.

    Raises:
        InputError: There is no such block on the server.
    """
    failed = EventTrigger(
        expect=_FAILURES,
        match=ResourceSpecification({"prefect.resource.id": f"{_RUN}.*"}),
        posture=Posture.Reactive,
        threshold=1,
    )
    decided = EventTrigger(
        expect={f"{DECISION}.{verdict}" for verdict in ("promote", "hold", "rollback")},
        posture=Posture.Reactive,
        threshold=1,
    )
    run_text = "{{ flow_run.name }}: {{ flow_run.state.name }}: {{ flow_run.state.message }}"
    model_text = (
        "{{ event.payload.model }}: {{ event.payload.decision }} version "
        "{{ event.payload.version }}; {% if event.payload.champion %}version "
        "{{ event.payload.champion }} serves{% else %}nothing serves yet{% endif %}. "
        "{{ event.payload.reasons }}"
    )
    notices = {"failures": (failed, run_text), "decisions": (decided, model_text)}
    return [
        AutomationCore(
            name=f"widedeep: tell of {subject}", trigger=trigger, actions=[_notice(block, text)]
        )
        for subject, (trigger, text) in notices.items()
    ]


def put_automation(automation: AutomationCore) -> None:
    """Create an automation on the server, or replace the one of that name if it is another one."""
    with get_client(sync_client=True) as client:
        for existing in client.read_automations_by_name(automation.name):
            if existing.model_dump(exclude={"id"}) == automation.model_dump(exclude={"id"}):
                return
            client.delete_automation(existing.id)
        client.create_automation(automation)


def _notice(block: str, text: str) -> CallWebhook | SendNotification:
    identity = _block_id(block)
    if block.startswith("webhook/"):
        return CallWebhook(block_document_id=identity, payload=text)
    return SendNotification(block_document_id=identity, subject="widedeep", body=text)


def _block_id(block: str) -> UUID:
    try:
        loaded = cast("Block", Block.load(block))
    except (ValueError, ObjectNotFound) as error:
        raise InputError(
            f"there is no block {block!r}; expected one made in Prefect's UI (Blocks), as "
            "slack-webhook/team"
        ) from error
    identity = loaded._block_document_id  # noqa: SLF001  Prefect has no public name for it
    if identity is None:
        raise InputError(f"block {block!r} was never saved")
    return identity


WATCH_SECONDS = 30.0
"""Time between two looks; a file that is still being written changes from one to the next."""

Files = list[tuple[str, int, int]]
"""Name, size in bytes and time of change in ns of each file of a folder."""


@dataclass
class FolderWatch:
    """Notices new, changed and removed files of a folder once they no longer change.

    Attributes:
        folder: What is watched.
        memory: A file that holds the state of the folder that was last announced.
    """

    folder: Path
    memory: Path
    _changing: Files | None = field(default=None, init=False)

    def look(self) -> bool:
        """Return whether there is a change that has come to rest; each change is returned once."""
        files = self._files()
        if not self.memory.exists():
            self._remember(files)
        if files == self._remembered() or files != self._changing:
            self._changing = files
            return False
        self._remember(files)
        return True

    def _files(self) -> Files:
        files = sorted(file for file in self.folder.glob("*") if file.is_file())
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def _remembered(self) -> Files:
        return [tuple(file) for file in json.loads(self.memory.read_text(encoding="utf-8"))]

    def _remember(self, files: Files) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.memory) as draft:
            draft.write_text(json.dumps(files), encoding="utf-8")


@contextmanager
def watching(watch: FolderWatch | None, seconds: float = WATCH_SECONDS) -> Iterator[None]:
    """Look at a folder every `seconds` while the block works, and announce what arrives."""
    if watch is None:
        yield
        return
    done = Event()
    thread = Thread(target=_announce_arrivals, args=(watch, done, seconds), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _announce_arrivals(watch: FolderWatch, done: Event, seconds: float) -> None:
    while not done.wait(seconds):
        if watch.look():
            announce_arrival(str(watch.folder))


def _folder_watch(data: DataSet) -> FolderWatch | None:
    if not data.folder:
        return None
    folder = Path(data.folder).expanduser().resolve()
    return FolderWatch(folder, default_workspace().root / "watched" / f"{folder.name}.json")


if __name__ == "__main__":
    sys.exit(main())
