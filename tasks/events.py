"""What this project tells Prefect's automations."""

from collections.abc import Sequence

from prefect.events import emit_event

DECISION = "widedeep.decision"
"""Followed by what was decided: promote, hold, insufficient_evidence, rollback."""
ARRIVED = "widedeep.data.arrived"


def decided(
    model: str, verdict: str, version: str, champion: str | None, reasons: Sequence[str]
) -> None:
    """A version was judged, or moved by hand; `champion` serves now."""
    payload = {
        "model": model,
        "decision": verdict,
        "version": version,
        "champion": champion,
        "reasons": "; ".join(reasons),
    }
    emit_event(f"{DECISION}.{verdict}", _resource("model", model), payload=payload)


def arrived(folder: str) -> None:
    """A folder of rating files has something new."""
    emit_event(ARRIVED, _resource("data", folder), payload={"folder": folder})


def _resource(kind: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": f"widedeep.{kind}.{name}", "prefect.resource.name": name}
