"""The HTTP interface of a `RankingService`: JSON routes, typed errors, and the page at `/`.

`create_app` returns the ASGI application. `schemas` defines the bodies, `middleware` the limits.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Query, Response
from fastapi.concurrency import run_in_threadpool

from widedeep.data.feedback_log import FeedbackEvent
from widedeep.retrieval.eligibility import EligibilityRules
from widedeep.serving.item_search import ItemCard
from widedeep.serving.middleware import RequestGuard, RequestLimits, add_error_handlers
from widedeep.serving.schemas import (
    ERROR_STATUS,
    MAX_RECOMMENDED,
    ErrorAnswer,
    ErrorType,
    FeedbackAnswer,
    FeedbackRequest,
    HealthAnswer,
    Id,
    ItemsAnswer,
    ModelAnswer,
    ModelName,
    NewUserAnswer,
    RankAnswer,
    RankRequest,
    RatedItem,
    RecommendAnswer,
    UserAnswer,
    recommended_items,
)
from widedeep.serving.service import RankingService
from widedeep.serving.serving_model import ServingModel

_DESCRIPTION = """Ranks items for users by a Wide & Deep model and takes feedback on them.

Times are UNIX seconds. An id that the model has never seen is no error: it is scored as a new user
or a new item."""


def create_app(service: RankingService, limits: RequestLimits | None = None) -> RequestGuard:
    """Return an ASGI application that closes the service when it is shut down."""
    app = FastAPI(
        title="widedeep",
        description=_DESCRIPTION,
        version=version("widedeep"),
        lifespan=_lifespan(service),
        # The pages of FastAPI's documentation would load scripts from other sites.
        docs_url=None,
        redoc_url=None,
    )
    add_error_handlers(app)
    app.include_router(_Routes(service).router())
    app.include_router(_page_router())
    return RequestGuard(app, limits or RequestLimits(), service.telemetry)


def _lifespan(service: RankingService) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def close_at_shutdown(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        service.close()

    return close_at_shutdown


Documentation = dict[int | str, dict[str, Any]]
"""Answers by status, as FastAPI takes them for `/openapi.json`."""


def _document(errors: dict[ErrorType, str]) -> Documentation:
    return {
        ERROR_STATUS[kind]: {"model": ErrorAnswer, "description": description}
        for kind, description in errors.items()
    }


_ANY_ROUTE = _document(
    {
        ErrorType.TOO_LARGE: "The body is too large",
        ErrorType.INVALID: "The request is not as described",
        ErrorType.TOO_MANY_REQUESTS: "Too many requests; Retry-After says when to try again",
        ErrorType.INTERNAL: "The server failed",
        ErrorType.NO_CHAMPION: "No champion yet",
        ErrorType.TIMEOUT: "No answer in time",
    }
)
_NO_SUCH_ITEM = _document({ErrorType.NOT_FOUND: "No such item"})
_NO_STORAGE = _document({ErrorType.STORAGE: "The feedback could not be written to the disk"})
_METRICS: Documentation = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics"}
}
_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_NEW_USER_IDS = (1_000_000, 10_000_000)

SearchText = Annotated[str, Query(min_length=1, max_length=100)]
Age = Annotated[int, Query(ge=0, le=150)]
ListLength = Annotated[int, Query(ge=1, le=MAX_RECOMMENDED)]


class _Routes:
    """The JSON routes. Reading and ranking run in the event loop; waiting and explaining do not."""

    def __init__(self, service: RankingService) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """Return a router that describes every answer; each route writes its JSON itself."""
        router = APIRouter(responses=_ANY_ROUTE)
        for method, path, route, answer, status, errors in (
            ("POST", "/rank", self.rank, RankAnswer, 200, {}),
            ("GET", "/recommend/{user}", self.recommend, RecommendAnswer, 200, {}),
            (
                "POST",
                "/feedback",
                self.feedback,
                FeedbackAnswer,
                201,
                {**_NO_SUCH_ITEM, **_NO_STORAGE},
            ),
            ("GET", "/items", self.items, ItemsAnswer, 200, {}),
            ("GET", "/items/{item}", self.item, ItemCard, 200, _NO_SUCH_ITEM),
            ("GET", "/users/{user}", self.user, UserAnswer, 200, {}),
            ("GET", "/new-user", self.new_user, NewUserAnswer, 200, {}),
            ("GET", "/health", self.health, HealthAnswer, 200, {}),
            ("GET", "/model", self.model, ModelAnswer, 200, {}),
        ):
            router.add_api_route(
                path,
                route,
                methods=[method],
                response_model=answer,
                responses=errors,
                status_code=status,
            )
        router.add_api_route("/metrics", self.metrics, response_class=Response, responses=_METRICS)
        return router

    async def rank(self, request: RankRequest) -> Response:
        """Rank candidates for a user; unknown ids are scored as new users and new items."""
        model = self._model
        with self._service.telemetry.ranking.time():
            ranking = model.rank(request.user, request.candidates, request.k, _now())
        return _json(RankAnswer(ModelName.from_version(model.version), ranking))

    async def recommend(
        self,
        user: Id,
        k: ListLength = 10,
        audience_age: Age | None = None,
        *,
        explain: bool = False,
    ) -> Response:
        """Recommend the best items for a user, without those that the user has rated.

        With `audience_age`, items whose age rating is higher are left out, too.
        """
        model, now = self._model, _now()
        with self._service.telemetry.ranking.time():
            ranked = model.recommend(user, k, now, EligibilityRules(audience_age))
        items = [entry.item for entry in ranked] if explain else []
        reasons = await run_in_threadpool(model.reasons, user, items, now) if items else ()
        entries = recommended_items(model.metadata.cards, ranked, reasons)
        return _json(RecommendAnswer(ModelName.from_version(model.version), user, entries))

    async def feedback(self, request: FeedbackRequest) -> Response:
        """Record a rating: when this is answered, it is on the disk and counts."""
        now = _now()
        at = now if request.time is None else request.time
        if at > now:
            raise HTTPException(422, f"time: {at} is in the future; it is {now} now")
        self._check_item(request.item)
        event = FeedbackEvent(request.user, request.item, request.value, at)
        try:
            new = await asyncio.wrap_future(self._service.record(event))
        except OSError as error:
            raise HTTPException(507, f"the feedback could not be stored: {error}") from error
        return _json(FeedbackAnswer(**asdict(event), superseded=not new), 201)

    async def items(self, q: SearchText, limit: ListLength = 20) -> Response:
        """Find items by title, in Korean or English."""
        metadata = self._model.metadata
        matches = metadata.search.find(q, limit)
        return _json(ItemsAnswer(tuple(metadata.cards.get(item) for item in matches)))

    async def item(self, item: Id) -> Response:
        """Return the card of one item: names, year, genres and people."""
        self._check_item(item)
        return _json(self._model.metadata.cards.get(item))

    async def user(self, user: Id) -> Response:
        """Return what a user has rated so far, the newest first."""
        model = self._model
        cards, events = model.metadata.cards, model.user_history.events(user)
        ratings = [
            RatedItem(**asdict(event), card=cards.get(event.item)) for event in reversed(events)
        ]
        return _json(UserAnswer(user, tuple(ratings)))

    async def new_user(self) -> Response:
        """Return a random user id without ratings."""
        model, user = self._model, 0
        while not user or model.user_history.events(user):
            user = random.randrange(*_NEW_USER_IDS)  # noqa: S311  it is not a secret
        return _json(NewUserAnswer(user))

    async def health(self) -> Response:
        """Say which model answers, or with 503 that none does."""
        name = ModelName.from_version(self._service.serving.model.version)
        refused = self._service.refused
        return _json(HealthAnswer("ok", name, refused[-1] if refused else None))

    async def model(self) -> Response:
        """Say which model answers, why, and what was decided before."""
        service, serving = self._service, self._service.serving
        records = await run_in_threadpool(service.decisions)
        return _json(ModelAnswer.from_records(serving, service.refused, records))

    async def metrics(self) -> Response:
        """Return all metrics in Prometheus's text format."""
        return Response(self._service.telemetry.to_text(), media_type=_PROMETHEUS)

    @property
    def _model(self) -> ServingModel:
        return self._service.serving.model

    def _check_item(self, item: int) -> None:
        """Refuse an unknown item: ingest would put its feedback into quarantine."""
        if item not in self._model.metadata.cards:
            raise HTTPException(404, f"there is no item {item}")


def _json(answer: object, status: int = 200) -> Response:
    return Response(orjson.dumps(answer), status, media_type="application/json")


def _now() -> int:
    return int(time.time())


_MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "texts.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def _page_router() -> APIRouter:
    """Serve the page at `/` and the files it loads; they are read once, and no other file is."""
    router = APIRouter(include_in_schema=False)
    folder = files("widedeep.serving") / "page"
    for name, media_type in _MEDIA_TYPES.items():
        path = "/" if name == "index.html" else f"/{name}"
        route = _file_route((folder / name).read_bytes(), media_type)
        router.add_api_route(path, route, methods=["GET", "HEAD"])
    return router


def _file_route(content: bytes, media_type: str) -> Callable[[], Awaitable[Response]]:
    async def send_file() -> Response:
        return Response(content, headers=_PAGE_HEADERS, media_type=media_type)

    return send_file
