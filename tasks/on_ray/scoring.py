"""Work that Ray Data shares among workers: checking rows, ranking lists and scoring the holdout."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import ray
import ray.data
from numpy.typing import NDArray

from tasks.on_ray.features import RayEngine
from widedeep.data.files import DelimitedFile
from widedeep.data.tables import Interactions
from widedeep.data.validation import RowCheck, check_rows, rates_schema
from widedeep.evaluation.scoring import Scorer
from widedeep.features.history.queries import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.model.network import predict
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.batch_ranking import USERS_PER_CHUNK, ListMaker, ListsRequest, RankedLists


def check_on_ray(file: DelimitedFile, items: pd.Index, now: int) -> Iterator[RowCheck]:
    """Check the rows as `check_locally` does, a byte range of the file on each worker.

    The file has to lie on a disk that all machines share.
    """
    ranges = [{"range": byte_range} for byte_range in file.byte_ranges()]
    checks = ray.data.from_items(ranges, override_num_blocks=len(ranges)).map_batches(
        partial(_check, file=file, items=ray.put(items), now=now),
        batch_size=1,
        batch_format="numpy",
    )
    for row in checks.iter_rows():
        yield row["check"]


def _check(batch: dict[str, Any], file: DelimitedFile, items: Any, now: int) -> dict[str, Any]:  # noqa: ANN401
    schema = rates_schema(ray.get(items), now)
    check = np.empty(1, object)
    check[0] = check_rows(file, file.read(batch["range"][0]), schema)
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
    model: TrainedModel, interactions: Interactions, item_table: ItemTable, pieces: int
) -> Scorer:
    """Return a scorer that works as `model_scorer` does, part by part on the cluster.

    Probabilities differ in the last bits, because batches have other sizes.
    """
    spec, prior = model.transform.spec, model.transform.prior
    engine = RayEngine(interactions, item_table, spec, prior, pieces)

    def score(asked: Queries) -> NDArray[np.float64]:
        return engine.compute_features(asked).gather(partial(_predict, model))

    return score


def _predict(model: TrainedModel, rows: RawFeatures) -> NDArray[np.float64]:
    return predict(model.network, model.transform.encode(rows))
