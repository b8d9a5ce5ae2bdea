"""Lists on the cluster: each worker has the model once, and ranks for some users at a time."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import ray.data
from numpy.typing import NDArray

from widedeep.serving.batch_ranking import CHUNK, Lists
from widedeep.serving.lists_order import Lister, ListsOrder


def ray_lists(order: ListsOrder, users: NDArray[np.int64], workers: int) -> Iterator[Lists]:
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
    def __init__(self, order: ListsOrder) -> None:
        self._batch = Lister.of(order).batch

    def __call__(self, items: dict[str, Any]) -> dict[str, Any]:
        lists = np.empty(1, object)
        lists[0] = next(self._batch.lists(np.array(items["users"][0])))
        return {"lists": lists}
