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

import httpx
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
        OSError: The server does not answer, or not as Prefect's does.
    """
    settings = get_current_settings()
    if settings.api.url is None and settings.server.ephemeral.enabled:
        os.environ["PREFECT_API_URL"] = _start()
        refresh_global_settings_context()
    yield
    seconds = settings.server.ephemeral.startup_timeout_seconds
    try:
        with get_client(httpx_settings={"timeout": seconds}, sync_client=True) as client:
            client.hello().raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL, RuntimeError) as error:
        raise OSError(
            f"Prefect's server {get_current_settings().api.url} (PREFECT_API_URL) does not answer: "
            f"{error}; start it, or unset PREFECT_API_URL to work with a temporary one"
        ) from error


def _start() -> str:
    """Start a server that is stopped when this process ends; return the address of its API."""
    # The socket listens from now on, so early requests wait for the server instead of failing.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor, port = listening.fileno(), listening.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", _APP, "--fd", str(descriptor)]
        server = subprocess.Popen(  # noqa: S603  Prefect's own
            [*command, "--log-level", "error", "--lifespan", "on"],
            env={**os.environ, **_SETTINGS},
            cwd=os.environ["PREFECT_HOME"],  # uvicorn imports from the current folder
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
