"""A connection to a Ray cluster, checked before anything depends on it."""

import logging
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray.data import DataContext

from widedeep.inputs import InputError
from widedeep.store import code_version
from widedeep.workspace import Workspace

ADDRESS = "RAY_ADDRESS"
"""Names the cluster, as host:port of its head or as ray://host:port."""

# Read when ray is imported.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# A worker's report waits for the next look at it, by default for up to 2 s.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
# Workers of a local Ray do this process's work, so they are as urgent (Ray's default is 15).
os.environ.setdefault("RAY_worker_niceness", "0")


_PATIENCE = 10.0
_QUIET = ("ray", "ray.data", "ray.train", "ray._private", "ray.tune")


@contextmanager
def connected(workers: int, workspace: Workspace) -> Iterator[None]:
    """Be a client of the cluster at `RAY_ADDRESS`, or of a local one with `workers` CPUs.

    A local cluster ends with the block, and with this process however that ends.

    Raises:
        InputError: Nobody answers at the address, or its workers have other code or another disk.
    """
    address = os.environ.get(ADDRESS)
    _connect(address, workers)
    try:
        _quieten()
        if address:
            _check(address, workspace)
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, workers: int) -> None:
    try:
        if address:
            _knock(address)
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


def _knock(address: str) -> None:
    """Ask whether anybody listens there at all: Ray itself would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def _quieten() -> None:
    """What Ray says by itself goes to its own files; a command's output is kept clean."""
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True


def _check(address: str, workspace: Workspace) -> None:
    """Workers must run this code and see this home."""
    workspace.root.mkdir(parents=True, exist_ok=True)
    sign = workspace.root / f".{uuid.uuid4().hex}"
    sign.touch()
    try:
        code, seen = ray.get(ray.remote(_look).remote(str(sign)))
    finally:
        sign.unlink()
    if code != _code():
        raise InputError(
            f"engine ray: the workers of {address} have another version of widedeep; install "
            "the same one there"
        )
    if not seen:
        raise InputError(
            f"engine ray: the workers of {address} do not see {workspace.root}; give a --home on a "
            "disk that all machines share"
        )


def _look(sign: str) -> tuple[str, bool]:
    return _code(), Path(sign).exists()


def _code() -> str:
    return code_version("data", "features", "model", "evaluation", "serving")


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
