"""Compiled code and numpy leave Python alone, so columns can be worked on side by side."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Found = TypeVar("Found")


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def on_all_cores(work: Callable[..., Found], *items: Iterable[Any]) -> list[Found]:
    """What `work` finds for each of the items, as `map` would."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(work, *items))
