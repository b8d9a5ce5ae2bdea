"""What people and automations are told: of a decision, and of data that arrived."""

from collections.abc import Sequence

from prefect.events import emit_event

from tasks.run_page import show_decision

DECISION = "widedeep.decision"
"""Followed by what was decided: promote, hold, insufficient_evidence, rollback."""
ARRIVED = "widedeep.data.arrived"


def announce(
    model: str, verdict: str, version: str, champion: str | None, reasons: Sequence[str]
) -> None:
    """On the run's page, and as an event: a version was judged or moved, and `champion` serves."""
    show_decision(model, verdict, version, champion, reasons)
    payload = {
        "model": model,
        "decision": verdict,
        "version": version,
        "champion": champion,
        "reasons": "; ".join(reasons),
    }
    emit_event(f"{DECISION}.{verdict}", _resource("model", model), payload=payload)


def arrived(folder: str) -> None:
    """As an event: a folder of rating files has something new."""
    emit_event(ARRIVED, _resource("data", folder), payload={"folder": folder})


def _resource(kind: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": f"widedeep.{kind}.{name}", "prefect.resource.name": name}
