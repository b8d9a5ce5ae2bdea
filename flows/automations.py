"""What the server does by itself: end runs whose process is dead, and tell people."""

from datetime import timedelta
from typing import cast
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.events import EventTrigger
from prefect.events.actions import CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from flows.holding import SKIPPED
from tasks.announcement import DECISION
from widedeep.errors import InputError

SILENCE = timedelta(seconds=90)
"""Three heartbeats long."""

_RUN = "prefect.flow-run"
_TROUBLE = {f"{_RUN}.{state}" for state in ("Failed", "TimedOut", "Crashed")}
_FINAL = _TROUBLE | {f"{_RUN}.{state}" for state in ("Completed", SKIPPED, "Cancelled")}
"""Events are named after a state's name, not after its type."""


def zombies() -> AutomationCore:
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


def notices(block: str) -> list[AutomationCore]:
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


def put(automation: AutomationCore) -> None:
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
