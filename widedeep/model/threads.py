"""How many threads torch's operations have while a block works."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


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
