"""Connect to a Ray cluster and check that it can do this run's work."""

import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from widedeep import InputError, Workspace
from widedeep.store import code_version

ADDRESS = "RAY_ADDRESS"
"""The environment variable that names the cluster: host:port of its head, or ray://host:port."""

# Ray reads these when it is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray Train polls workers' reports at this interval; its default is 2 s.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
# Workers of a local Ray do this process's work, so they keep its priority (Ray's default is 15).
os.environ.setdefault("RAY_worker_niceness", "0")

import ray  # noqa: E402
from ray.data import DataContext  # noqa: E402

_CONNECT_SECONDS = 10.0
_QUIET = ("ray", "ray.data", "ray.train", "ray._private", "ray.tune")


@contextmanager
def connected(workers: int, workspace: Workspace) -> Iterator[None]:
    """Connect to the cluster at `RAY_ADDRESS`, or start a local one with `workers` CPUs.

    A local cluster ends with the block, and also when this process is killed.

    Raises:
        InputError: The address does not answer, or its workers have another version of the code or
            do not see the workspace.
    """
    address = os.environ.get(ADDRESS)
    _connect(address, workers)
    try:
        _silence()
        if address:
            _check(address, workspace)
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, workers: int) -> None:
    try:
        if address:
            _probe(address)
        ray.init(
            address or "local",
            num_cpus=None if address else workers,
            include_dashboard=None if address else False,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"engine ray: {ADDRESS} is {address}, and no cluster can be reached there "
            f"({_first_line(error)}); start one, or unset it for a local Ray"
        ) from error


def _probe(address: str) -> None:
    """Open a connection to the address first, because Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()


def _silence() -> None:
    """Keep Ray's own messages out of the command's output; they stay in Ray's log files."""
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True


def _check(address: str, workspace: Workspace) -> None:
    """Raise InputError unless the workers run this code and see the workspace."""
    workspace.root.mkdir(parents=True, exist_ok=True)
    marker = workspace.root / f".{uuid.uuid4().hex}"
    marker.touch()
    try:
        code, seen = ray.get(ray.remote(_look).remote(str(marker)))
    finally:
        marker.unlink()
    if code != _code():
        raise InputError(
            f"engine ray: the workers of {address} have another version of widedeep; install "
            "this version there"
        )
    if not seen:
        raise InputError(
            f"engine ray: the workers of {address} do not see {workspace.root}; give a --home on a "
            "disk that all machines share"
        )


def _look(marker: str) -> tuple[str, bool]:
    return _code(), Path(marker).exists()


def _code() -> str:
    return code_version("serving")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
