"""Prefect's temporary server, which serves a run that was started without one.

Prefect would start it when it is first asked for something. Started before, it gets ready while
this process imports torch and MLflow, which takes as long. One whose process was killed lives on;
the next run ends it (see `orphans`).
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
# As Prefect starts its own: without a UI and the services of a server that stays.
_TEMPORARY = {
    "PREFECT_UI_ENABLED": "false",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
}
_PATIENCE = 5.0
"""Seconds for its end, as Prefect gives it."""


@contextmanager
def starting() -> Iterator[None]:
    """Start the server while the block works, or reach the one that is configured, after it.

    Raises:
        httpx.HTTPError: It does not answer.
    """
    settings = get_current_settings()
    if settings.api.url is None and settings.server.ephemeral.enabled:
        os.environ["PREFECT_API_URL"] = _start()
        refresh_global_settings_context()
    yield
    _reach(settings.server.ephemeral.startup_timeout_seconds)


def _start() -> str:
    """Start a server that ends after all else of this process; the address of its API."""
    # Whoever calls before the server is ready waits at the door, and is not turned away.
    with socket.create_server(("127.0.0.1", 0)) as door:
        place, port = door.fileno(), door.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", _APP, "--fd", str(place)]
        server = subprocess.Popen(  # noqa: S603  Prefect's own
            [*command, "--log-level", "error", "--lifespan", "on"],
            env={**os.environ, **_TEMPORARY},
            pass_fds=[place],
        )
    atexit.register(_stop, server)
    return f"http://127.0.0.1:{port}/api"


def _reach(seconds: float) -> None:
    with get_client(httpx_settings={"timeout": seconds}, sync_client=True) as client:
        client.hello()


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
