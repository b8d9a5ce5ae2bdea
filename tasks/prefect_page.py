"""What a run shows on its page in Prefect: tables, texts and links, each with a history by key.

What people and automations are told: of a decision, and of data that arrived.
"""

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

from tasks.ingest import Ingested, describe
from widedeep.evaluation.comparison import Headline, headlines, opponent_name
from widedeep.evaluation.report import markdown_table
from widedeep.inputs import to_iso
from widedeep.store import Artifact

if TYPE_CHECKING:
    from uuid import UUID


def show_data(ingested: Ingested) -> None:
    """What was read, what was set aside and why, how it is split, and who is new."""
    counts, split = ingested.counts, ingested.split
    rows = [
        ("read", counts.read),
        ("examples", counts.examples),
        ("superseded by an earlier rating of the pair", counts.superseded),
        ("set aside", counts.quarantined),
        *((f"- {why}", n) for why, n in ingested.artifact.summary["quarantined_by_reason"].items()),
    ]
    parts = zip(
        ("training", "validation", "holdout"),
        ("the beginning", to_iso(split.validation_from), to_iso(split.holdout_from)),
        ingested.examples,
        strict=True,
    )
    new = ingested.newcomers()
    text = [
        f"# {ingested.source.name} as of {to_iso(split.as_of)}\n\n{ingested.source.origin}\n\n",
        markdown_table(("ratings", "rows"), [(name, f"{n:,}") for name, n in rows], 1),
        "\n",
        markdown_table(("part", "from", "rows"), [(p, at, f"{n:,}") for p, at, n in parts], 2),
        f"\nNew in the holdout: {new.users:,} users and {new.items:,} movies.\n",
        f"\n{describe(ingested.arrivals)}\n" if ingested.arrivals else "",
    ]
    create_markdown_artifact("".join(text), f"{ingested.model}-data", "what was learned from")


def show_evaluation(model: str, evaluation: Artifact) -> None:
    """Challenger and champion (the user + item mean if there is none) on the same rows."""
    other = opponent_name(evaluation.summary)
    rows = [
        {
            "holdout": one.title,
            "challenger": _figure(one.challenger, ".4f"),
            other: _figure(one.other, ".4f"),
            "difference": _figure(_apart(one), "+.4f"),
            "95 % interval": one.interval,
        }
        for one in headlines(evaluation.summary)
    ]
    create_table_artifact(rows, f"{model}-evaluation", "challenger against champion")


def show_decision(
    model: str, verdict: str, version: str, champion: str | None, reasons: Sequence[str]
) -> None:
    """What was decided of a version, why, and what serves now."""
    serving = f"version {champion} serves" if champion else "nothing serves yet"
    sentences = "".join(f"- {reason}\n" for reason in reasons)
    text = f"# {verdict}: {model} version {version}\n\nNow {serving}.\n\n{sentences}"
    create_markdown_artifact(text, f"{model}-decision", f"{verdict}, version {version}")


def show_link(model: str, url: str | None) -> None:
    """The way to the run in MLflow, where its UI is known."""
    if url is not None:
        create_link_artifact(url, "this run in MLflow", f"{model}-mlflow", "figures, files, model")


@contextmanager
def progress(key: str, steps: int, what: str) -> Iterator[Callable[[int, str], None]]:
    """A bar on the run's page, full when the block ends well.

    Gives a function that takes how many steps are done, and what the last one found.
    """
    bar = cast("UUID", create_progress_artifact(0.0, key, what))

    def advance(done: int, found: str) -> None:
        update_progress_artifact(bar, 100.0 * min(done / max(steps, 1), 1.0), found)

    yield advance
    update_progress_artifact(bar, 100.0)


def _apart(one: Headline) -> float | None:
    if one.challenger is None or one.other is None:
        return None
    return one.challenger - one.other


def _figure(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


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
