"""Work on several columns at once in threads, and iterate without holding more than needed.

Threads are enough because compiled code and numpy release the interpreter lock.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def worker_count() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(work: Callable[..., T], *items: Iterable[Any]) -> list[T]:
    """Return what the builtin `map` would yield, computed in `worker_count()` threads."""
    with ThreadPoolExecutor(worker_count()) as pool:
        return list(pool.map(work, *items))


def drain(items: list[T]) -> Iterator[T]:
    """Yield the items in order and remove each from the list, so that its memory can be freed."""
    while items:
        yield items.pop(0)


def look_ahead(items: Iterable[T]) -> Iterator[T]:
    """Yield each item only after the next one has been made, so that work it began can overlap."""
    made: deque[T] = deque()
    for item in items:
        made.append(item)
        if len(made) > 1:
            yield made.popleft()
    yield from made
