"""From `--data` to checked Parquet."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import State, Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import TaskRun
from prefect.runtime import task_run
from prefect.tasks import exponential_backoff

from tasks.engine import LOCAL, STAGE_SECONDS, Engine
from widedeep import decision_log
from widedeep.data.changes import HOW, TABLE, compare_data
from widedeep.data.download import TransferError
from widedeep.data.feedback_log import FEEDBACK_FILE as EVENTS
from widedeep.data.ingest import ingest as ingest_files
from widedeep.data.source import Source, resolve
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, Interactions, RowCounts, first_times
from widedeep.inputs import to_iso
from widedeep.store import Artifact
from widedeep.workspace import Workspace


@dataclass(frozen=True, slots=True)
class SplitMoments:
    """The moments a run was asked for, UNIX seconds; None leaves the choice to the data."""

    as_of: int | None = None
    validation_from: int | None = None
    holdout_from: int | None = None


@dataclass(frozen=True, slots=True)
class Ingested:
    """Checked ratings, and the split of those known at its `as_of`.

    `compare_data` is what the files gained since the last decision on this data set; None if there was
    none, or on the same files.
    """

    source: Source
    artifact: Artifact
    split: Split
    counts: RowCounts
    examples: tuple[int, int, int]
    arrivals: Artifact | None

    @property
    def model(self) -> str:
        """The registered model's name: simulated and real data never meet in one."""
        return self.source.model

    def known(self) -> Interactions:
        """The examples known at the split's `as_of`."""
        return IngestedData(self.artifact).load(until=self.split.as_of)

    def items(self) -> pa.Table:
        """What is known of each item."""
        return IngestedData(self.artifact).items()

    def people(self) -> pa.Table:
        """The names of people."""
        return IngestedData(self.artifact).people()

    def newcomers(self) -> "NewData":
        """Users and items whose first rating is one of the holdout."""
        interactions = self.known()
        users, items = (
            len(
                np.unique(tokens[first_times(tokens, interactions.time) >= self.split.holdout_from])
            )
            for tokens in (interactions.user, interactions.item)
        )
        return NewData(users, items)


@dataclass(frozen=True, slots=True)
class NewData:
    """How many had no rating before."""

    users: int
    items: int


def checked(workspace: Workspace, source: Source, engine: Engine = LOCAL) -> Artifact:
    """The data set as it is now: its files, and the ratings that servers of its model took."""
    events = workspace.events / source.model / EVENTS
    return ingest_files(source.folder, workspace.stages, int(time.time()), events, engine.judge())


def _may_succeed_later(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:  # noqa: ARG001  Prefect passes them
    """A download that broke off may; files that are not as they should be never will."""
    try:
        state.result()
    except TransferError:
        return True
    except Exception:  # noqa: BLE001  whatever else it was is no matter of patience
        return False
    return False


def _title() -> str:
    """For people: the data's short name, and as of when they are asked for."""
    given = task_run.parameters
    as_of = given["window"].as_of
    known = "" if as_of is None else f" as of {to_iso(as_of)[:10]}"
    return f"ingest {Path(given['data']).name}{known}"


@task(
    name="ingest",
    task_run_name=_title,
    cache_policy=NO_CACHE,
    timeout_seconds=STAGE_SECONDS,
    retries=2,
    retry_delay_seconds=exponential_backoff(3),
    retry_jitter_factor=0.5,
    retry_condition_fn=_may_succeed_later,
)
def ingest(
    workspace: Workspace, data: str, window: SplitMoments, engine: Engine = LOCAL
) -> Ingested:
    """Find the data, check every row, and split what was known by time."""
    logger = get_run_logger()
    source = resolve(data, workspace.data, os.environ)
    logger.info("data: %s", source.origin)
    artifact = checked(workspace, source, engine)
    ratings = IngestedData(artifact)
    moments = ratings.load().time
    as_of = window.as_of if window.as_of is not None else ratings.last_time + 1
    split = Split.of(moments, as_of, window.validation_from, window.holdout_from)
    parts = (split.training(moments), split.validation(moments), split.holdout(moments))
    examples = (int(parts[0].sum()), int(parts[1].sum()), int(parts[2].sum()))
    counts = ratings.counts(as_of)
    logger.info(
        "ingest: %s ratings read, %s examples, %s superseded, %s set aside",
        *(f"{n:,}" for n in (counts.read, counts.examples, counts.superseded, counts.quarantined)),
    )
    for reason, rows in artifact.summary["quarantined_by_reason"].items():
        logger.warning("set aside: %s rows: %s (see %s)", f"{rows:,}", reason, artifact.path)
    logger.info("split: %s / %s / %s examples; %s", *(f"{n:,}" for n in examples), split.describe())
    arrived = _arrivals(workspace, source, artifact)
    if arrived is not None:
        logger.info("ingest: %s", describe(arrived))
        if unexpected(arrived):
            logger.warning("ingest: the past has changed: see %s", arrived.path / TABLE)
    return Ingested(source, artifact, split, counts, examples, arrived)


def describe(arrived: Artifact) -> str:
    """What the files gained since the last decision, for people."""
    phrases = []
    for what, counts in arrived.summary.items():
        found = [f"{counts[how]:,} {how}" for how in HOW if counts.get(how)]
        phrases += [f"{what}: {', '.join(found)}"] if found else []
    return f"since the last decision: {'; '.join(phrases) or 'nothing is new'}"


def unexpected(arrived: Artifact) -> bool:
    """Whether ratings came late, changed or vanished."""
    return any(count for how, count in arrived.summary["ratings"].items() if how != "new")


def _arrivals(workspace: Workspace, source: Source, artifact: Artifact) -> Artifact | None:
    decisions = decision_log.history(workspace.decisions / source.model)
    known = [decision["ratings"] for decision in decisions if "ratings" in decision]
    if not known or known[-1] == artifact.id:
        return None
    before = workspace.stages.held(artifact.kind, known[-1])
    return None if before is None else compare_data(before, artifact, workspace.stages)
