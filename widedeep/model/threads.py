"""How many threads torch's operations have while a block works, and a thread beside them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

Found = TypeVar("Found")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """`count` of them; then as many as before. Costs a microsecond; the setting is the process's.

    A small operation takes less time than a second thread needs to wake, and where another process
    works it waits for that thread to be given a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class SideThread:
    """Does what others need not wait for, where there is a core for it; else at once."""

    def __init__(self, cores: int) -> None:
        self._pool = ThreadPoolExecutor(1, "side") if cores > 1 else None

    def begin(self, work: Callable[..., Found], *given: Any) -> Callable[[], Found]:  # noqa: ANN401
        """Begin some `work`; what is returned waits for its end and gives what it found."""
        if self._pool is not None:
            return self._pool.submit(work, *given).result
        found = work(*given)
        return lambda: found
