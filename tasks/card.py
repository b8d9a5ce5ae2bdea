"""The model card of a version."""

from tasks.facts import git_commit
from tasks.ingest import Ingested
from tasks.job import Job
from widedeep.artifact_store import Artifact
from widedeep.evaluation.model_card import ModelCard
from widedeep.evaluation.promotion import Decision
from widedeep.when import iso


def model_card(
    job: Job, version: str, served: Artifact, evaluation: Artifact, decision: Decision
) -> str:
    """As Markdown."""
    ingested, preset = job.ingested, job.preset
    facts = {
        "label": f"a rating of {preset.features.history.positive_rating} or more is positive",
        "data": _data(ingested),
        "holdout": _holdout(ingested),
        "start": job.start.reason,
        "serves": _serves(served, evaluation),
        "preset": f"{preset.name}, seed {job.seed}",
        "features": ", ".join(
            (
                f"{len(preset.features.categories)} categories",
                f"{len(preset.features.bags)} bags",
                f"{len(preset.features.numbers)} numbers",
                f"{len(preset.features.crosses)} cross-products",
            )
        ),
        "code": f"commit {git_commit() or 'unknown'}",
    }
    title = f"{ingested.model} version {version}"
    return ModelCard(
        title, facts, evaluation.summary, str(decision.verdict), decision.reasons
    ).as_markdown()


def _data(ingested: Ingested) -> str:
    counts = ingested.counts
    return (
        f"{ingested.source.name} ({ingested.source.origin}), {counts.examples:,} examples of "
        f"{counts.read:,} ratings, known before {iso(ingested.split.as_of)}, "
        f"digest {ingested.artifact.id}"
    )


def _holdout(ingested: Ingested) -> str:
    return f"{ingested.examples[2]:,} ratings from {iso(ingested.split.holdout_from)} on"


def _serves(served: Artifact, evaluation: Artifact) -> str:
    if served.id == evaluation.key["challenger"]:
        return "the very model that was judged"
    return "the model that was judged, after it learned the holdout's ratings, too"
