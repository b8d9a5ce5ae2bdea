"""Prefect's temporary server, which serves a run that was started without one.

It takes 7 to 12 s to start and is a process of its own, so it starts while this process imports
torch and MLflow. One whose process was killed lives on; the next run ends it (see `orphans`).
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from prefect import get_client


@contextmanager
def starting() -> Iterator[None]:
    """Start the server (or reach the one that is configured) while the block works."""
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(_reach)
        yield
        server.result()


def _reach() -> None:
    with get_client(sync_client=True) as client:
        client.hello()
