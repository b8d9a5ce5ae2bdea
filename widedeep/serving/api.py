"""The HTTP interface of a service, with its page, behind its limits.

Every error as JSON with a type, a message and a status that says the same.

The answers of the HTTP interface.

The page: three files that are sent as they are.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as AnyHTTPException

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.retrieval.eligibility import EligibilityRules
from widedeep.serving.middleware import RequestGuard, RequestLimits
from widedeep.serving.schemas import (
    MOST_RECOMMENDED,
    ErrorAnswer,
    ErrorType,
    FeedbackAnswer,
    FeedbackRequest,
    HealthAnswer,
    ItemCardAnswer,
    ItemsAnswer,
    ModelAnswer,
    NewUserAnswer,
    RankAnswer,
    RankRequest,
    RecommendAnswer,
    Token,
    UserAnswer,
    event_view,
    health_view,
    item_view,
    items_view,
    model_view,
    problem,
    rank_view,
    recommended_view,
    user_view,
)
from widedeep.serving.service import NoChampionError, RankingService
from widedeep.serving.serving_model import ServingModel

Responses = dict[int | str, dict[str, Any]]

ANY_TIME: Responses = {
    status: {"model": ErrorAnswer, "description": about}
    for status, about in {
        413: "The body is too large",
        422: "The request is not as described",
        429: "Too many requests; Retry-After says when",
        500: "The server failed",
        503: "No champion yet",
        504: "No answer in time",
    }.items()
}
NO_SUCH_ITEM: Responses = {404: {"model": ErrorAnswer, "description": "No such item"}}
STORAGE: Responses = {507: {"model": ErrorAnswer, "description": "The disk does not take it"}}

_TYPES = {
    404: ErrorType.NOT_FOUND,
    405: ErrorType.METHOD_NOT_ALLOWED,
    422: ErrorType.INVALID,
    507: ErrorType.STORAGE,
}
_MOST_FAULTS = 5


def answer_failures(app: FastAPI) -> None:
    """Have an application answer errors so."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(NoChampionError, _no_champion)
    app.add_exception_handler(Exception, _failed)


async def _invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)  # noqa: S101  it is registered for these
    told = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors()[:_MOST_FAULTS]]
    return _answer(422, ErrorType.INVALID, "; ".join(told))


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)  # noqa: S101  likewise
    # FastAPI says 400 of a body that is no text, and 422 of one that is no JSON.
    status = 422 if error.status_code == 400 else error.status_code  # noqa: PLR2004
    message = f"{request.method} {request.url.path}: {error.detail}"
    return _answer(status, _TYPES[status], message, dict(error.headers or {}))


async def _no_champion(request: Request, error: Exception) -> Response:
    del request
    return _answer(503, ErrorType.NO_CHAMPION, str(error))


async def _failed(request: Request, error: Exception) -> Response:
    """What is raised again afterwards, and logged by the guard."""
    del request, error
    return _answer(500, ErrorType.INTERNAL, "the server failed; its log says why")


def _answer(
    status: int, kind: ErrorType, message: str, headers: dict[str, str] | None = None
) -> Response:
    body = orjson.dumps(problem(kind, message))
    return Response(body, status, headers, media_type="application/json")


def _place(location: tuple[int | str, ...]) -> str:
    """`candidates.3` of ("body", "candidates", 3)."""
    return ".".join(str(part) for part in location[1:]) or str(location[0])


_NEW_USERS = (1_000_000, 10_000_000)

Words = Annotated[str, Query(min_length=1, max_length=100)]
Age = Annotated[int, Query(ge=0, le=150)]
ListLength = Annotated[int, Query(ge=1, le=MOST_RECOMMENDED)]


class Routes:
    """Asks a service; reading is done where the request arrives, waiting and explaining is not."""

    def __init__(self, service: RankingService) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(responses=ANY_TIME)
        for method, path, answer, model, more in (
            ("POST", "/rank", self.rank, RankAnswer, {}),
            ("GET", "/recommend/{user}", self.recommend, RecommendAnswer, {}),
            ("POST", "/feedback", self.feedback, FeedbackAnswer, {**NO_SUCH_ITEM, **STORAGE}),
            ("GET", "/items", self.find, ItemsAnswer, {}),
            ("GET", "/items/{item}", self.item, ItemCardAnswer, NO_SUCH_ITEM),
            ("GET", "/users/{user}", self.user, UserAnswer, {}),
            ("GET", "/new-user", self.new_user, NewUserAnswer, {}),
            ("GET", "/health", self.health, HealthAnswer, {}),
            ("GET", "/model", self.model, ModelAnswer, {}),
        ):
            router.add_api_route(
                path,
                answer,
                methods=[method],
                response_model=model,
                responses=more,
                status_code=201 if path == "/ratings" else 200,
            )
        router.add_api_route("/metrics", self.metrics, response_class=Response, responses=_TEXT)
        return router

    async def rank(self, request: RankRequest) -> Response:
        """Rank candidates for a user; strangers are cold ones."""
        bundle = self._bundle
        with self._service.telemetry.ranking.time():
            ranking = bundle.rank(request.user, request.candidates, request.k, _now())
        return _json(rank_view(bundle, ranking))

    async def recommend(
        self,
        user: Token,
        k: ListLength = 10,
        audience_age: Age | None = None,
        *,
        explain: bool = False,
    ) -> Response:
        """The best items of all for a user, without those that the user has rated.

        With `audience_age` without those that ask for more years of age, too.
        """
        bundle, now = self._bundle, _now()
        with self._service.telemetry.ranking.time():
            found = bundle.recommend(user, k, now, EligibilityRules(audience_age))
        items = [one.item for one in found] if explain else []
        reasons = await run_in_threadpool(bundle.reasons, user, items, now) if items else ()
        return _json(recommended_view(bundle, user, found, reasons))

    async def feedback(self, request: FeedbackRequest) -> Response:
        """Take a rating: it is on the disk and counts when this is answered."""
        now = _now()
        moment = now if request.time is None else request.time
        if moment > now:
            raise HTTPException(422, f"time: {moment} is in the future, it is {now} now")
        self._known(request.item)
        event = FeedbackEvent(request.user, request.item, request.value, moment)
        try:
            news = await asyncio.wrap_future(self._service.record(event))
        except OSError as error:
            raise HTTPException(507, f"the rating could not be kept: {error}") from error
        return _json({**event_view(event), "superseded": not news}, 201)

    async def find(self, q: Words, limit: ListLength = 20) -> Response:
        """Items by title, in Korean or English."""
        bundle = self._bundle
        return _json(items_view(bundle.cards, bundle.titles.find(q, limit)))

    async def item(self, item: Token) -> Response:
        """One item."""
        self._known(item)
        return _json(item_view(self._bundle.cards, item))

    async def user(self, user: Token) -> Response:
        """What a user has rated so far."""
        bundle = self._bundle
        return _json(user_view(bundle.cards, user, bundle.book.of_user(user)))

    async def new_user(self) -> Response:
        """An id that nobody has."""
        bundle, user = self._bundle, 0
        while not user or bundle.book.of_user(user):
            user = random.randrange(*_NEW_USERS)  # noqa: S311  it is no secret
        return _json({"user": user})

    async def health(self) -> Response:
        """Whether users are answered, and by what."""
        return _json(health_view(self._service.serving, self._service.refused))

    async def model(self) -> Response:
        """Which model answers, why, and what was decided before."""
        service, serving = self._service, self._service.serving
        decisions = await run_in_threadpool(service.decisions)
        return _json(model_view(serving, service.refused, decisions))

    async def metrics(self) -> Response:
        """For Prometheus."""
        return Response(self._service.telemetry.text(), media_type=_PROMETHEUS)

    @property
    def _bundle(self) -> ServingModel:
        return self._service.serving.bundle

    def _known(self, item: int) -> None:
        """A rating of another item would be set aside by the next retrain."""
        if item not in self._bundle.cards:
            raise HTTPException(404, f"there is no item {item}")


_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics"}
}


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _now() -> int:
    return int(time.time())


_pages_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "texts.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def page_router() -> APIRouter:
    """`/` and the files it names; nothing else is to be had, whatever the path."""
    router = APIRouter(include_in_schema=False)
    folder = files("widedeep.serving") / "page"
    for name, media_type in _pages_TYPES.items():
        path = "/" if name == "index.html" else f"/{name}"
        sent = _sender((folder / name).read_bytes(), media_type)
        router.add_api_route(path, sent, methods=["GET", "HEAD"])
    return router


def _sender(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send() -> Response:
        return Response(content, headers=_HEADERS, media_type=media_type)

    return send


_ABOUT = """From a user to a ranked list of cards, and from a rating back into what is known.

Moments are UNIX seconds. A user or item that nobody knows is a cold one and no error."""


def create_app(service: RankingService, limits: RequestLimits | None = None) -> RequestGuard:
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
    return RequestGuard(app, limits or RequestLimits(), service.telemetry)


def _lifespan(service: RankingService) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def closing(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        service.close()

    return closing
