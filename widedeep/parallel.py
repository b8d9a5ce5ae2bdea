"""Compiled code and numpy leave Python alone, so columns can be worked on side by side.

Items one after another: let go of on the way, or made ahead.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Found = TypeVar("Found")


def worker_count() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(work: Callable[..., Found], *items: Iterable[Any]) -> list[Found]:
    """What `work` finds for each of the items, as `map` would."""
    with ThreadPoolExecutor(worker_count()) as pool:
        return list(pool.map(work, *items))


Item = TypeVar("Item")


def drain(items: list[Item]) -> Iterator[Item]:
    """Each of the items, which the list then no longer holds."""
    while items:
        yield items.pop(0)


def look_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each of them when the next has been made."""
    made: deque[Item] = deque()
    for item in items:
        made.append(item)
        if len(made) > 1:
            yield made.popleft()
    yield from made
