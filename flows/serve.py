"""A server of the champion, until Ctrl-C or SIGTERM."""

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
from widedeep import decision_log
from widedeep.choices import Precision
from widedeep.data.source import resolve
from widedeep.decision_log import chosen_model
from widedeep.inputs import InputError
from widedeep.model.compute import matmul_dtype
from widedeep.serving.api import create_app
from widedeep.serving.middleware import RequestLimits
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

_BACKLOG = 1024
_OFTEN = 700
"""New objects after which garbage is looked for: a look at more takes users' time."""
_PATIENCE = 10
_TURN = 0.00001
"""Seconds a thread may keep Python to itself while another waits: who loads a model must not keep
users waiting for the usual 5 ms."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    port: int

    def listen(self) -> socket.socket:
        """Raises OSError with one clear sentence if it cannot be had."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        # Only of a socket that says TCP does asyncio send small answers at once (TCP_NODELAY).
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((self.host, self.port))
        except OSError as error:
            listening.close()
            where = f"{self.host} port {self.port}"
            raise OSError(f"cannot listen on {where}: {error.strerror}; try --port") from error
        listening.listen(_BACKLOG)
        return listening


def model_to_serve(workspace: Workspace, data: str | None, model: str | None) -> str | None:
    """The model's name; None stands for the first that appears in a home without any.

    Raises:
        InputError: Both are given, the home has several models and neither is, or it has models
            but none of that name.
    """
    models = decision_log.subjects(workspace.decisions)
    if data is not None and model is not None:
        raise InputError("--data and --model both name a model; leave one out")
    if data is not None:
        # Its name is all that is wanted: nothing is downloaded or simulated for it.
        source = resolve(data, workspace.data, os.environ, lambda _, folder: folder, lambda _: None)
        return source.model
    return chosen_model(models, model) if models else model


def serve(
    workspace: Workspace,
    model: str | None,
    address: Address,
    limits: RequestLimits,
    precision: Precision = Precision.AUTO,
) -> None:
    """Answer requests until a signal comes; those that have begun are finished.

    Raises:
        InputError: The processor lacks the precision.
        OSError: The address cannot be had.
        BusyError: Another server takes ratings for the same model.
    """
    matmul_dtype(precision)
    _log_plainly()
    gc.set_threshold(_OFTEN)
    torch.set_num_threads(1)
    sys.setswitchinterval(_TURN)
    with address.listen() as listening, _quiet_signals():
        service = RankingService(workspace, Telemetry())
        config = uvicorn.Config(
            create_app(service, limits),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_PATIENCE,
        )
        server = uvicorn.Server(config)

        def stop() -> None:
            server.should_exit = True

        scout = ChampionWatcher(workspace, model, service, stop, precision)
        host, port = listening.getsockname()[:2]
        waiting = model or "the first model that appears"
        logging.getLogger("widedeep.serving").info("http://%s:%s serves %s", host, port, waiting)
        with scout.working():
            server.run(sockets=[listening])
        if scout.fatal is not None:
            raise scout.fatal


def _log_plainly() -> None:
    form = logging.Formatter("%(asctime)s %(message)s")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(form)
    logger = logging.getLogger("widedeep.serving")
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextmanager
def _quiet_signals() -> Iterator[None]:
    """A signal that ended the server is raised again by uvicorn: no reason to die of it."""
    kept = {one: signal.signal(one, lambda *_: None) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in kept.items():
            signal.signal(one, handler)
