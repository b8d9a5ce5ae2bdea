"""Serve the champion of a model over HTTP until Ctrl-C or SIGTERM.

The server itself is `widedeep.serving`; this file gives it a socket, signals, and settings of the
process that keep answers fast, and runs `tasks.champion_watcher` beside it.
"""

import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import uvicorn

from tasks.champion_watcher import ChampionWatcher
from widedeep import InputError, Workspace
from widedeep.data.source import resolve_source
from widedeep.inputs import Precision, choose_model
from widedeep.model.compute import matmul_dtype
from widedeep.serving.api import create_app
from widedeep.serving.middleware import RequestLimits
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry

_BACKLOG = 1024
_GC_THRESHOLD = 700
"""New objects that start a garbage collection; with more, each one delays requests longer."""
_SHUTDOWN_SECONDS = 10
_SWITCH_INTERVAL = 0.00001
"""Seconds for which a thread may hold the interpreter while another waits: with the usual 5 ms, the
thread that loads a model would delay requests."""


@dataclass(frozen=True, slots=True)
class Address:
    """The host (a name, IPv4 or IPv6 address) and port of a server; port 0 is any free one."""

    host: str
    port: int

    def listen(self) -> socket.socket:
        """Return a listening socket.

        Raises:
            OSError: The address is in use or not available, in one sentence.
        """
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # asyncio sets TCP_NODELAY (send small answers at once) only if the protocol is named.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.host, self.port))
        except OSError as error:
            listener.close()
            where = f"{self.host} port {self.port}"
            raise OSError(f"cannot listen on {where}: {error.strerror}; try --port") from error
        listener.listen(_BACKLOG)
        return listener


def model_to_serve(workspace: Workspace, data: str | None, model: str | None) -> str | None:
    """Return the name of the model to serve; None means the first that appears.

    Args:
        workspace: Where models are registered.
        data: A data set, as in `--data`, whose model is meant.
        model: The name of a model.

    Raises:
        InputError: Both `data` and `model` are given; or neither is and the workspace has several
            models; or it has models, but none of that name.
    """
    models = workspace.decided_models()
    if data is not None and model is not None:
        raise InputError("--data and --model both name a model; leave one out")
    if data is not None:
        # Only the name is needed, so nothing is downloaded or simulated.
        source = resolve_source(
            data, workspace.data, os.environ, lambda _, folder: folder, lambda _: None
        )
        return source.model
    return choose_model(models, model) if models else model


def serve(
    workspace: Workspace,
    model: str | None,
    address: Address,
    limits: RequestLimits,
    precision: Precision = Precision.AUTO,
) -> None:
    """Answer requests until a signal comes, then finish those that have begun.

    Raises:
        InputError: The processor lacks the precision.
        OSError: The address is in use or not available.
        BusyError: Another server takes feedback for the same model.
    """
    matmul_dtype(precision)
    _log_to_stdout()
    gc.set_threshold(_GC_THRESHOLD)
    torch.set_num_threads(1)
    sys.setswitchinterval(_SWITCH_INTERVAL)
    with address.listen() as listener, _ignored_signals():
        service = RankingService(workspace, Telemetry(), model)
        config = uvicorn.Config(
            create_app(service, limits),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        )
        server = uvicorn.Server(config)

        def stop() -> None:
            server.should_exit = True

        watcher = ChampionWatcher(workspace, model, service, stop, precision)
        host, port = listener.getsockname()[:2]
        served = model or "the first model that appears"
        logging.getLogger("widedeep.serving").info("http://%s:%s serves %s", host, port, served)
        with watcher.running():
            server.run(sockets=[listener])
        if watcher.fatal is not None:
            raise watcher.fatal


def _log_to_stdout() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("widedeep.serving")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextmanager
def _ignored_signals() -> Iterator[None]:
    """Ignore the signal that uvicorn raises again after it has ended the server."""
    signals = (signal.SIGINT, signal.SIGTERM)
    handlers = {number: signal.signal(number, lambda *_: None) for number in signals}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
