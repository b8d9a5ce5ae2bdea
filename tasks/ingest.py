"""The first stage of every run: read the data, check every row, and split what is known by time.

The task `ingest` returns an `Ingested`, a small reference that later stages load their tables from.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prefect import State, Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import task_run
from prefect.tasks import exponential_backoff

from tasks.engine import LOCAL, STAGE_SECONDS, Engine
from tasks.run_form import DataSet, Moments
from widedeep import Artifact, FeatureTables, IngestedData, Interactions, Split, Workspace
from widedeep import ingest as ingest_files
from widedeep.data.changes import CHANGES, UNEXPECTED_FILE, compare_data
from widedeep.data.download import TransferError
from widedeep.data.feedback_log import FEEDBACK_FILE
from widedeep.data.source import Source, resolve_source
from widedeep.data.tables import RowCounts, SideTables, first_times
from widedeep.inputs import to_iso


@dataclass(frozen=True, slots=True)
class Ingested:
    """Checked interactions, and how those known at the split's `as_of` are split.

    Attributes:
        source: The folder that the interactions come from.
        artifact: The checked Parquet files.
        split: The moments between training, validation and holdout.
        counts: Rows read, examples, superseded and quarantined rows known at `as_of`.
        examples: Number of training, validation and holdout examples.
        positive_share: The share of them with a positive label.
        arrivals: What changed in the files since the last decision on this data set; None if there
            was no decision, or the last one was on the same files.
    """

    source: Source
    artifact: Artifact
    split: Split
    counts: RowCounts
    examples: tuple[int, int, int]
    positive_share: float
    arrivals: Artifact | None

    @property
    def model(self) -> str:
        """Name of the registered model; simulated and real data never share one."""
        return self.source.model

    @property
    def label(self) -> str:
        """What a positive label is and how many there are, as `rating >= 4, 55 % positive`."""
        spec = self.source.spec
        share = f"{self.positive_share:.0%} positive".replace("%", " %")
        if spec.negatives is None:
            return f"{spec.label}, {share}"
        return (
            f"every interaction; {spec.negatives.per_positive} items that existed then are sampled "
            f"as negatives of each, by popularity ({share}), so that all metrics compare what was "
            "chosen with sampled items"
        )

    def known(self) -> Interactions:
        """Return the examples known at the split's `as_of`."""
        return IngestedData(self.artifact).interactions(until=self.split.as_of)

    def side_tables(self) -> SideTables:
        """Return items, users and names, as ingest wrote them."""
        return IngestedData(self.artifact).side_tables()

    def tables(self) -> FeatureTables:
        """Return the attributes of items and users, as features read them."""
        return FeatureTables.from_side_tables(self.side_tables())

    def new_in_holdout(self) -> "NewData":
        """Count the users and items whose first interaction is in the holdout."""
        interactions = self.known()
        users, items = (
            len(np.unique(ids[first_times(ids, interactions.time) >= self.split.holdout_from]))
            for ids in (interactions.user, interactions.item)
        )
        return NewData(users, items)


@dataclass(frozen=True, slots=True)
class NewData:
    """Number of users and of items that had no interaction before the holdout."""

    users: int
    items: int


def ingest_source(workspace: Workspace, source: Source, engine: Engine = LOCAL) -> Artifact:
    """Ingest the files of `source` and the feedback that servers of its model have logged."""
    feedback = workspace.events / source.model / FEEDBACK_FILE
    now = int(time.time())
    return ingest_files(
        source.folder, source.spec, workspace.stages, now, feedback, engine.row_checker()
    )


def _broke_off(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001  Prefect passes them
    """Return whether a download broke off, the only failure that may pass by itself."""
    try:
        state.result()
    except TransferError:
        return True
    except Exception:  # noqa: BLE001  a second try reads the same files
        return False
    return False


def _title() -> str:
    """Return the name of a task run, as `ingest kmrd-small as of 2018-10-01`."""
    parameters = task_run.parameters
    as_of = parameters["moments"].as_of
    known = "" if as_of is None else f" as of {to_iso(as_of)[:10]}"
    return f"ingest {Path(str(parameters['data'])).name}{known}"


@task(
    name="ingest",
    task_run_name=_title,
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
    retries=2,
    retry_delay_seconds=exponential_backoff(3),
    retry_jitter_factor=0.5,
    retry_condition_fn=_broke_off,
)
def ingest(
    workspace: Workspace, data: DataSet, moments: Moments, engine: Engine = LOCAL
) -> Ingested:
    """Find the data, check every row, and split the interactions known at a moment by time.

    Raises:
        InputError: The data are not there or not readable, or a part of the split is empty.
    """
    logger = get_run_logger()
    source = resolve_source(str(data), workspace.data, os.environ)
    logger.info("data: %s", source.origin)
    artifact = ingest_source(workspace, source, engine)
    ratings = IngestedData(artifact)
    interactions = ratings.interactions()
    times = interactions.time
    as_of = ratings.last_time + 1 if moments.as_of is None else moments.as_of
    split = Split.from_times(times, as_of, moments.validation_from, moments.holdout_from)
    parts = (split.training(times), split.validation(times), split.holdout(times))
    examples = (int(parts[0].sum()), int(parts[1].sum()), int(parts[2].sum()))
    positive_share = float(interactions.label[times < as_of].mean())
    counts = ratings.counts(as_of)
    logger.info(
        "ingest: %s interactions read = %s examples + %s repeats + %s set aside",
        *(f"{n:,}" for n in (counts.read, counts.examples, counts.superseded, counts.quarantined)),
    )
    for reason, rows in artifact.summary["quarantined_by_reason"].items():
        logger.warning("quarantined: %s rows: %s (see %s)", f"{rows:,}", reason, artifact.path)
    logger.info("split: %s / %s / %s examples; %s", *(f"{n:,}" for n in examples), split.to_text())
    arrivals = _arrivals(workspace, source, artifact)
    if arrivals is not None:
        logger.info("ingest: %s", arrivals_to_text(arrivals))
        if _has_unexpected(arrivals):
            logger.warning("ingest: the past has changed: see %s", arrivals.path / UNEXPECTED_FILE)
    ingested = Ingested(source, artifact, split, counts, examples, positive_share, arrivals)
    logger.info("label: %s", ingested.label)
    return ingested


def arrivals_to_text(arrivals: Artifact) -> str:
    """Return what changed in the files since the last decision, as one line."""
    phrases = []
    for table, counts in arrivals.summary.items():
        changes = [f"{counts[change]:,} {change}" for change in CHANGES if counts.get(change)]
        phrases += [f"{table}: {', '.join(changes)}"] if changes else []
    return f"since the last decision: {'; '.join(phrases) or 'nothing is new'}"


def _has_unexpected(arrivals: Artifact) -> bool:
    """Return whether interactions came late, changed or vanished."""
    counts = arrivals.summary["interactions"].items()
    return any(count for change, count in counts if change != "new")


def _arrivals(workspace: Workspace, source: Source, artifact: Artifact) -> Artifact | None:
    """Compare the data with those of the last decision on the same data set."""
    decisions = workspace.decision_log(source.model).history()
    ids = [decision["ratings"] for decision in decisions if "ratings" in decision]
    if not ids or ids[-1] == artifact.id:
        return None
    before = workspace.stages.find_by_id(artifact.kind, ids[-1])
    return None if before is None else compare_data(before, artifact, workspace.stages)
