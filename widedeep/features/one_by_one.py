"""Items one after another: let go of on the way, or made ahead."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def emptied(items: list[Item]) -> Iterator[Item]:
    """Each of the items, which the list then no longer holds."""
    while items:
        yield items.pop(0)


def one_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items, each of them when the next has been made."""
    made: deque[Item] = deque()
    for item in items:
        made.append(item)
        if len(made) > 1:
            yield made.popleft()
    yield from made
