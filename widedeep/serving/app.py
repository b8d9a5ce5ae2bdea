"""The HTTP interface of a service, with its page, behind its limits."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI

from widedeep.serving.failures import answer_failures
from widedeep.serving.guard import Guard, Limits
from widedeep.serving.pages import page_router
from widedeep.serving.routes import Routes
from widedeep.serving.service import Service

_ABOUT = """From a user to a ranked list of films, and from a rating back into what is known.

Moments are UNIX seconds. A user or movie that nobody knows is a cold one and no error."""


def create_app(service: Service, limits: Limits | None = None) -> Guard:
    """An ASGI application; the service is closed when it is shut down."""
    app = FastAPI(
        title="widedeep",
        description=_ABOUT,
        version=version("widedeep"),
        lifespan=_lifespan(service),
        # Their pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
    )
    answer_failures(app)
    app.include_router(Routes(service).router())
    app.include_router(page_router())
    return Guard(app, limits or Limits(), service.telemetry)


def _lifespan(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        service.close()

    return closing
