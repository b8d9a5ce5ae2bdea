"""Prefect's temporary server, for a run that is started from the command line without a server.

Prefect itself would start it at the first request. Started earlier, it gets ready while this
process imports torch and MLflow, which takes as long. If this process is killed, the server lives
on until the next command ends it (`flows.environment.stop_orphans`).
"""

import atexit
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_client
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

_APP = "prefect.server.api.server:create_app"
# The settings with which Prefect starts it: no UI, and none of a lasting server's services.
_SETTINGS = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
_STOP_SECONDS = 5.0
"""Time for the server to end, the same as Prefect's own."""


@contextmanager
def starting() -> Iterator[None]:
    """Start the server while the block works, unless one is configured, and wait for its answer.

    Raises:
        httpx.HTTPError: The server does not answer.
    """
    settings = get_current_settings()
    if settings.api.url is None and settings.server.ephemeral.enabled:
        os.environ["PREFECT_API_URL"] = _start()
        refresh_global_settings_context()
    yield
    seconds = settings.server.ephemeral.startup_timeout_seconds
    with get_client(httpx_settings={"timeout": seconds}, sync_client=True) as client:
        client.hello()


def _start() -> str:
    """Start a server that is stopped when this process ends; return the address of its API."""
    # The socket listens from now on, so early requests wait for the server instead of failing.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", _APP, "--fd", str(descriptor)]
        server = subprocess.Popen(  # noqa: S603  Prefect's own
            [*command, "--log-level", "error", "--lifespan", "on"],
            env={**os.environ, **_SETTINGS},
            pass_fds=[descriptor],
        )
    atexit.register(_stop, server)
    return f"http://127.0.0.1:{port}/api"


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
