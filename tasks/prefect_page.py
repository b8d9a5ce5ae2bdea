"""What a run shows in Prefect: artifacts on its page, each with a history by key, and events."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.events import emit_event

from tasks.ingest import Ingested, arrivals_to_text
from widedeep import Artifact
from widedeep.evaluation.report import Headline, headlines, markdown_table, opponent_name
from widedeep.inputs import to_iso

if TYPE_CHECKING:
    from uuid import UUID

DECISION = "widedeep.decision"
"""The start of an event's name; the verdict follows: `.promote`, `.hold`, `.rollback`, …"""

ARRIVED = "widedeep.data.arrived"
"""The event that new files have come to rest in a data folder."""


def show_data(ingested: Ingested) -> None:
    """Show the rows read, set aside and why, the split, and the new users and items."""
    counts, split = ingested.counts, ingested.split
    rows = [
        ("read", counts.read),
        ("examples", counts.examples),
        ("superseded by an earlier interaction of the pair", counts.superseded),
        ("set aside", counts.quarantined),
        *((f"- {why}", n) for why, n in ingested.artifact.summary["quarantined_by_reason"].items()),
    ]
    parts = zip(
        ("training", "validation", "holdout"),
        ("the beginning", to_iso(split.validation_from), to_iso(split.holdout_from)),
        ingested.examples,
        strict=True,
    )
    new = ingested.new_in_holdout()
    text = [
        f"# {ingested.source.name} as of {to_iso(split.as_of)}\n\n{ingested.source.origin}\n\n",
        f"Label: {ingested.label}.\n\n",
        markdown_table(("interactions", "rows"), [(name, f"{n:,}") for name, n in rows], 1),
        "\n",
        markdown_table(("part", "from", "rows"), [(p, at, f"{n:,}") for p, at, n in parts], 2),
        f"\nNew in the holdout: {new.users:,} users and {new.items:,} items.\n",
        f"\n{arrivals_to_text(ingested.arrivals)}\n" if ingested.arrivals else "",
    ]
    create_markdown_artifact("".join(text), f"{ingested.model}-data", "the data of this run")


def show_evaluation(model: str, evaluation: Artifact) -> None:
    """Show the challenger beside the champion (or the baseline model) on the same rows."""
    other = opponent_name(evaluation.summary)
    rows = [
        {
            "holdout": headline.title,
            "challenger": _format(headline.challenger, ".4f"),
            other: _format(headline.other, ".4f"),
            "difference": _format(_difference(headline), "+.4f"),
            "95 % interval": headline.interval,
        }
        for headline in headlines(evaluation.summary)
    ]
    create_table_artifact(rows, f"{model}-evaluation", "challenger against champion")


def show_decision(
    model: str, verdict: str, version: str, champion: str | None, reasons: Sequence[str]
) -> None:
    """Show the verdict on a version, its reasons, and which version serves now."""
    serving = f"version {champion} serves" if champion else "nothing serves yet"
    sentences = "".join(f"- {reason}\n" for reason in reasons)
    text = f"# {verdict}: {model} version {version}\n\nNow {serving}.\n\n{sentences}"
    create_markdown_artifact(text, f"{model}-decision", f"{verdict}, version {version}")


def show_link(model: str, url: str | None) -> None:
    """Show a link to the run in MLflow; do nothing where the address of its UI is unknown."""
    if url is not None:
        create_link_artifact(url, "this run in MLflow", f"{model}-mlflow", "figures, files, model")


@contextmanager
def progress(key: str, steps: int, description: str) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar on the run's page, which is full when the block ends well.

    Yields a function that takes the number of finished steps and a line about the last one.
    """
    bar = cast("UUID", create_progress_artifact(0.0, key, description))

    def advance(done: int, line: str) -> None:
        update_progress_artifact(bar, 100.0 * min(done / max(steps, 1), 1.0), line)

    yield advance
    update_progress_artifact(bar, 100.0)


def _difference(headline: Headline) -> float | None:
    if headline.challenger is None or headline.other is None:
        return None
    return headline.challenger - headline.other


def _format(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def announce(
    model: str, verdict: str, version: str, champion: str | None, reasons: Sequence[str]
) -> None:
    """Show a verdict or a move on the run's page and emit it as an event; `champion` serves now."""
    show_decision(model, verdict, version, champion, reasons)
    payload = {
        "model": model,
        "decision": verdict,
        "version": version,
        "champion": champion,
        "reasons": "; ".join(reasons),
    }
    emit_event(f"{DECISION}.{verdict}", _resource("model", model), payload=payload)


def announce_arrival(folder: str) -> None:
    """Emit the event that a data folder has new or changed files."""
    emit_event(ARRIVED, _resource("data", folder), payload={"folder": folder})


def _resource(kind: str, name: str) -> dict[str, str]:
    return {"prefect.resource.id": f"widedeep.{kind}.{name}", "prefect.resource.name": name}
