"""The flows as a Prefect server offers them: on schedule, on new data, and on a press of Run.

`python -m flows.deployments --help` serves them to the server that PREFECT_API_URL names.

What the server does by itself: end runs whose process is dead, and tell people.

Notices that rating files have changed, and says so once they have come to rest.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any, cast
from uuid import UUID

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
from flows.run_form import DataSet
from flows.tune import tune
from tasks.prefect_page import ARRIVED, DECISION, arrived
from widedeep.inputs import InputError
from widedeep.store import drafted

SILENCE = timedelta(seconds=90)
"""Three heartbeats long."""

_RUN = "prefect.flow-run"
_TROUBLE = {f"{_RUN}.{state}" for state in ("Failed", "TimedOut", "Crashed")}
_FINAL = _TROUBLE | {f"{_RUN}.{state}" for state in ("Completed", SKIPPED, "Cancelled")}
"""Events are named after a state's name, not after its type."""


def crash_automation() -> AutomationCore:
    """Runs that were killed together with whoever ran them, so that nobody else would notice."""
    heartbeat = f"{_RUN}.heartbeat"
    trigger = EventTrigger(
        after={heartbeat},
        expect={heartbeat, *_FINAL},
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
    """Tell of failures and of decisions through a block, as `slack-webhook/team`.

    Raises:
        InputError: There is no such block on the server.
    """
    failed = EventTrigger(
        expect=_TROUBLE,
        match=ResourceSpecification({"prefect.resource.id": f"{_RUN}.*"}),
        posture=Posture.Reactive,
        threshold=1,
    )
    decided = EventTrigger(
        expect={f"{DECISION}.{verdict}" for verdict in ("promote", "hold", "rollback")},
        posture=Posture.Reactive,
        threshold=1,
    )
    of_run = "{{ flow_run.name }}: {{ flow_run.state.name }}: {{ flow_run.state.message }}"
    of_model = (
        "{{ event.payload.model }}: {{ event.payload.decision }} version "
        "{{ event.payload.version }}; {% if event.payload.champion %}version "
        "{{ event.payload.champion }} serves{% else %}nothing serves yet{% endif %}. "
        "{{ event.payload.reasons }}"
    )
    identity, calls = _identity(block), block.startswith("webhook/")
    told = {"failures": (failed, of_run), "decisions": (decided, of_model)}
    return [
        AutomationCore(
            name=f"widedeep: tell of {what}",
            trigger=trigger,
            actions=[_call(identity, text) if calls else _tell(identity, text)],
        )
        for what, (trigger, text) in told.items()
    ]


def put_automation(automation: AutomationCore) -> None:
    """Have the server keep it as it is here; one that is there already goes on undisturbed."""
    with get_client(sync_client=True) as client:
        for found in client.read_automations_by_name(automation.name):
            if found.model_dump(exclude={"id"}) == automation.model_dump(exclude={"id"}):
                return
            client.delete_automation(found.id)
        client.create_automation(automation)


def _identity(block: str) -> UUID:
    try:
        found = cast("Block", Block.load(block))
    except (ValueError, ObjectNotFound) as error:
        wanted = "one made in Prefect's UI (Blocks) is wanted, as slack-webhook/team"
        raise InputError(f"there is no block {block!r}; {wanted}") from error
    identity = found._block_document_id  # noqa: SLF001  Prefect gives it under this name alone
    if identity is None:
        raise InputError(f"block {block!r} was never saved")
    return identity


def _call(identity: UUID, text: str) -> CallWebhook:
    return CallWebhook(block_document_id=identity, payload=text)


def _tell(identity: UUID, text: str) -> SendNotification:
    return SendNotification(block_document_id=identity, subject="widedeep", body=text)


SECONDS = 30.0
"""Between two looks: files that are being written change from one to the next."""

Files = list[tuple[str, int, int]]


@dataclass
class FolderWatch:
    """A folder, and the file that remembers what was last announced of it."""

    folder: Path
    memory: Path
    _moving: Files | None = field(default=None, init=False)

    def look(self) -> bool:
        """Whether there is something new, the same as at the last look; it is told once."""
        found = self._files()
        if not self.memory.exists():
            self._remember(found)
        if found == self._known() or found != self._moving:
            self._moving = found
            return False
        self._remember(found)
        return True

    def _files(self) -> Files:
        """Name, size and time of change (ns) of each file."""
        files = sorted(file for file in self.folder.glob("*") if file.is_file())
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def _known(self) -> Files:
        return [tuple(file) for file in json.loads(self.memory.read_text(encoding="utf-8"))]

    def _remember(self, found: Files) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with drafted(self.memory) as draft:
            draft.write_text(json.dumps(found), encoding="utf-8")


@contextmanager
def watching(watch: FolderWatch | None, seconds: float = SECONDS) -> Iterator[None]:
    """Look again and again while the block works, and announce what arrives."""
    if watch is None:
        yield
        return
    done = Event()
    thread = Thread(target=_look, args=(watch, done, seconds), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _look(watch: FolderWatch, done: Event, seconds: float) -> None:
    while not done.wait(seconds):
        if watch.look():
            arrived(str(watch.folder))


WEEKLY = "0 4 * * 1"
TAG = "widedeep"


def deployments(data: DataSet, cron: str) -> list[RunnerDeployment]:
    """All of them; `data` is what their run forms begin with, `cron` is in UTC."""
    given = {"data": data.model_dump()}
    arrived = DeploymentEventTrigger(
        name="widedeep: new data",
        expect={ARRIVED},
        parameters={"data": {"folder": "{{ event.payload.folder }}"}},
    )
    return [
        _deployment(retrain, "scheduled", given, cron=cron),
        _deployment(retrain, "on-new-data", given, triggers=[arrived]),
        _deployment(replay, "backfill", given),
        _deployment(tune, "search", given),
        _deployment(promote_by_hand, "manual", {}),
        _deployment(rollback, "manual", {}),
    ]


def serve_all(offered: Sequence[RunnerDeployment]) -> None:
    """Run what is asked for, one run at a time, until the process is told to stop.

    The schedule goes on while nobody serves it; of the runs that became due the newest is run.
    """
    serve(*offered, limit=1, pause_on_shutdown=False, print_starting_message=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; returns the exit status."""
    parser = argparse.ArgumentParser("python -m flows.deployments")
    parser.add_argument("--data", default="auto", help="what the run forms begin with")
    parser.add_argument("--cron", default=WEEKLY, help="when retrain/scheduled runs, in UTC")
    parser.add_argument("--notify", metavar="BLOCK", help="told of failures and decisions")
    options = parser.parse_args(arguments)
    data = DataSet.parse(options.data)
    try:
        told = notice_automations(options.notify) if options.notify else []
    except InputError as error:
        sys.stderr.write(f"widedeep: {error}\n")
        return 2
    for automation in (crash_automation(), *told):
        put_automation(automation)
    end_dead_runs(TAG)
    with watching(_watch(data)):
        serve_all(deployments(data, options.cron))
    return 0


def _watch(data: DataSet) -> FolderWatch | None:
    if not data.folder:
        return None
    folder = Path(data.folder).expanduser().resolve()
    return FolderWatch(folder, default_workspace().root / "watched" / f"{folder.name}.json")


def _deployment(
    flow: Flow[..., Any],
    name: str,
    parameters: dict[str, Any],
    **when: Any,  # noqa: ANN401
) -> RunnerDeployment:
    description = (flow.__doc__ or "").partition("Args:")[0].strip()
    return RunnerDeployment.from_flow(
        flow,
        name,
        parameters=parameters,
        description=description,
        tags=[TAG],
        entrypoint_type=EntrypointType.MODULE_PATH,
        **when,
    )


if __name__ == "__main__":
    sys.exit(main())
