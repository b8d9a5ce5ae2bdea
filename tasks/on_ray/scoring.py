"""Rows of ratings checked on Ray Data, a stretch of the file where there is room.

Lists on the cluster: each worker has the model once, and ranks for some users at a time.

Scores on the cluster: a piece of time is described and scored where there is room.
"""

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
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import predict
from widedeep.serving.batch_ranking import CHUNK, ListMaker, ListsRequest, RankedLists


def check_on_ray(file: DelimitedFile, items: pd.Index, now: int) -> Iterator[RowCheck]:
    """As `judge_here`, to the row; the file must lie where all machines see it."""
    stretches = [{"stretch": stretch} for stretch in file.stretches()]
    found = ray.data.from_items(stretches, override_num_blocks=len(stretches)).map_batches(
        partial(_judge, file=file, items=ray.put(items), now=now),
        batch_size=1,
        batch_format="numpy",
    )
    for row in found.iter_rows():
        yield row["verdict"]


def _judge(batch: dict[str, Any], file: DelimitedFile, items: Any, now: int) -> dict[str, Any]:  # noqa: ANN401
    rules = rates_schema(ray.get(items), now)
    verdict = np.empty(1, object)
    verdict[0] = check_rows(file, file.read(batch["stretch"][0]), rules)
    return {"verdict": verdict}


def ray_lists(order: ListsRequest, users: NDArray[np.int64], workers: int) -> Iterator[RankedLists]:
    """As `BatchRanking.lists`, in the order of the users."""
    parts = [{"users": users[start : start + CHUNK]} for start in range(0, len(users), CHUNK)]
    found = ray.data.from_items(parts, override_num_blocks=len(parts)).map_batches(
        _Worker,
        fn_constructor_args=(order,),
        concurrency=workers,
        batch_size=1,
        batch_format="numpy",
    )
    for row in found.iter_rows():
        yield row["lists"]


class _Worker:
    def __init__(self, order: ListsRequest) -> None:
        self._batch = ListMaker.of(order).batch

    def __call__(self, items: dict[str, Any]) -> dict[str, Any]:
        lists = np.empty(1, object)
        lists[0] = next(self._batch.lists(np.array(items["users"][0])))
        return {"lists": lists}


def ray_scorer(
    model: TrainedModel, interactions: Interactions, item_table: ItemTable, pieces: int
) -> Scorer:
    """As `model_scorer`; probabilities differ by what the size of a batch does to floats."""
    spec, prior = model.transform.spec, model.transform.prior
    engine = RayEngine(interactions, item_table, spec, prior, pieces)

    def score(asked: Queries) -> NDArray[np.float64]:
        return engine.describe(asked).gathered(partial(_predict, model))

    return score


def _predict(model: TrainedModel, rows: RawFeatures) -> NDArray[np.float64]:
    return predict(model.network, model.transform.encode(rows))
