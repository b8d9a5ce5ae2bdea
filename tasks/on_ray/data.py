"""Work that Ray Data shares among workers: features, row checks, scores and ranked lists.

For features this process passes over the interactions once, in order of time, and only updates the
history state. It cuts the queries into parts; workers compute the features of a part from the state
at its beginning.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from numpy.typing import NDArray

from widedeep import FeatureTables, Interactions, TrainedModel
from widedeep.data.files import DataFile
from widedeep.data.validation import InteractionRules, RowCheck
from widedeep.evaluation.scoring import Scorer
from widedeep.features import ColumnSelection, Queries, RawFeatures
from widedeep.model.network import predict
from widedeep.out_of_core.blocks import (
    BlockEngine,
    BlockRows,
    Result,
    Work,
    all_positions,
    block_columns,
    run_on_block,
    to_block,
)
from widedeep.out_of_core.history_parts import split_history
from widedeep.serving.batch_ranking import USERS_PER_CHUNK, ListMaker, ListsRequest, RankedLists

_ROWS = 2_000_000
"""Rows whose features a worker computes at once; they take about 2 GB."""


@dataclass(frozen=True, slots=True)
class _Opaque:
    """A value that Ray passes on unchanged; it would turn a list of arrays into Python numbers."""

    value: Any


@dataclass(frozen=True, slots=True)
class RayRows(BlockRows):
    """Rows with their features in the cluster's memory; `tables` is a Ray reference."""

    blocks: Any
    tables: Any

    def map_blocks(
        self, work: Work[Result], columns: ColumnSelection | None = None
    ) -> Iterator[Result]:
        """Run `work` on the workers, see `BlockRows.map_blocks`."""
        arguments = ray.put((work, columns, self.positions, self.tables))
        results = self.blocks.map_batches(
            _apply, fn_args=(arguments,), batch_size=None, batch_format="pyarrow"
        )
        for row in results.iter_rows():
            yield row["result"].value


@dataclass(frozen=True, slots=True)
class RayEngine(BlockEngine[RayRows]):
    """The feature engine on a cluster: at least `pieces` parts of at most `rows` queries each."""

    pieces: int
    rows: int = _ROWS

    def compute_features(self, queries: Queries) -> RayRows:
        """See `FeatureEngine.compute_features`."""
        known = (self.interactions, queries, self.tables.items, self.spec.history, self.prior)
        count = max(self.pieces, math.ceil(len(queries) / self.rows))
        parts = [
            {"part": ray.put((part, queries.select_rows(part.rows)))}
            for part in split_history(*known, count=count)
        ]
        tables = ray.put(self.tables)
        blocks = None
        if parts:
            batches = ray.data.from_items(parts, override_num_blocks=len(parts))
            blocks = batches.map_batches(
                _described, fn_args=(tables,), batch_size=1, batch_format="numpy"
            ).materialize()
        return RayRows(queries, all_positions(len(queries)), blocks, tables)


def _described(batch: dict[str, Any], reference: Any) -> pa.Table:  # noqa: ANN401
    tables = ray.get(reference)
    part, queries = ray.get(batch["part"][0])
    return to_block(RawFeatures.from_history(queries, part.compute(), tables), part.rows)


def _apply(block: pa.Table, reference: Any) -> dict[str, Any]:  # noqa: ANN401
    work, reads, place, tables = ray.get(reference)
    columns = block.select(block_columns(block.schema, reads))
    results = run_on_block(work, columns, place, ray.get(tables))
    column = np.empty(len(results), object)
    column[:] = [_Opaque(result) for result in results]
    return {"result": column}


def check_on_ray(file: DataFile, rules: InteractionRules) -> Iterator[RowCheck]:
    """Check the rows as `check_locally` does, a part of the file on each worker.

    The file has to lie on a disk that all machines share.
    """
    ranges = [{"range": part} for part in file.ranges()]
    checks = ray.data.from_items(ranges, override_num_blocks=len(ranges)).map_batches(
        partial(_check, file=file, rules=ray.put(rules)),
        batch_size=1,
        batch_format="numpy",
    )
    for row in checks.iter_rows():
        yield row["check"]


def _check(batch: dict[str, Any], file: DataFile, rules: Any) -> dict[str, Any]:  # noqa: ANN401
    check = np.empty(1, object)
    check[0] = ray.get(rules).check(file, file.read(batch["range"][0]))
    return {"check": check}


def ray_lists(order: ListsRequest, users: NDArray[np.int64], workers: int) -> Iterator[RankedLists]:
    """Rank for `users` (n,) on the cluster as `BatchRanking.lists` does, in their order."""
    parts = [
        {"users": users[start : start + USERS_PER_CHUNK]}
        for start in range(0, len(users), USERS_PER_CHUNK)
    ]
    lists = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        _RankingWorker,
        fn_constructor_args=(order,),
        concurrency=workers,
        batch_size=1,
        batch_format="numpy",
    )
    for row in lists.iter_rows():
        yield row["lists"]


class _RankingWorker:
    """A worker that loads the model once and ranks for some users at a time."""

    def __init__(self, order: ListsRequest) -> None:
        self._batch = ListMaker.load(order).batch

    def __call__(self, items: dict[str, Any]) -> dict[str, Any]:
        lists = np.empty(1, object)
        lists[0] = next(self._batch.lists(np.array(items["users"][0])))
        return {"lists": lists}


def ray_scorer(
    model: TrainedModel, interactions: Interactions, tables: FeatureTables, pieces: int
) -> Scorer:
    """Return a scorer that works as `model_scorer` does, part by part on the cluster.

    Probabilities differ in the last bits, because batches have other sizes.
    """
    spec, prior = model.transform.spec, model.transform.prior
    engine = RayEngine(interactions, tables, spec, prior, pieces)

    def score(asked: Queries) -> NDArray[np.float64]:
        return engine.compute_features(asked).gather(partial(_predict, model))

    return score


def _predict(model: TrainedModel, rows: RawFeatures) -> NDArray[np.float64]:
    return predict(model.network, model.transform.encode(rows))
