"""The HTTP interface of a `RankingService`: JSON routes, typed errors, and the page at `/`.

`create_app` returns the ASGI application. `schemas` defines the bodies, `middleware` the limits.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from importlib.resources import files
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, FastAPI, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from widedeep.data.ids import FIRST_TEXT_KEY, UNKNOWN_KEY, id_key, id_text
from widedeep.retrieval.eligibility import EligibilityRules
from widedeep.serving.item_search import ItemCard
from widedeep.serving.middleware import RequestGuard, RequestLimits, add_error_handlers
from widedeep.serving.model_answer import ModelAnswer
from widedeep.serving.schemas import (
    ERROR_STATUS,
    MAX_RECOMMENDED,
    ErrorAnswer,
    ErrorType,
    FeedbackAnswer,
    FeedbackRequest,
    HealthAnswer,
    ItemsAnswer,
    ModelName,
    NewUserAnswer,
    PathId,
    RankAnswer,
    RankedId,
    RankRequest,
    RatedItem,
    RecommendAnswer,
    RecommendRequest,
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
        ErrorType.NO_CHAMPION: "No champion yet, or it is being loaded",
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
            ("GET", "/recommend/{user:path}", self.recommend, RecommendAnswer, 200, {}),
            ("POST", "/recommend/{user:path}", self.recommend_with, RecommendAnswer, 200, {}),
            (
                "POST",
                "/feedback",
                self.feedback,
                FeedbackAnswer,
                201,
                {**_NO_SUCH_ITEM, **_NO_STORAGE},
            ),
            ("GET", "/items", self.items, ItemsAnswer, 200, {}),
            ("GET", "/items/{item:path}", self.item, ItemCard, 200, _NO_SUCH_ITEM),
            ("GET", "/users/{user:path}", self.user, UserAnswer, 200, {}),
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
        given = request.given(model.metadata.tables)
        user = UNKNOWN_KEY if request.user is None else id_key(request.user)
        candidates = [id_key(item) for item in request.candidates]
        with self._service.telemetry.ranking.time():
            ranking = model.rank(user, candidates, request.k, _now(), given)
        ids = _texts(model, request.candidates, candidates)
        named = tuple(RankedId(ids[r.item], r.probability) for r in ranking) if ids else ranking
        return _json(RankAnswer(ModelName.from_version(model.version), named))

    async def recommend(
        self,
        user: PathId,
        http_request: Request,
        k: ListLength = 10,
        audience_age: Age | None = None,
        *,
        explain: bool = False,
    ) -> Response:
        """Recommend the best items for a user, without those that the user has met.

        With `audience_age`, items whose age rating is higher are left out, too. The context and the
        user's features may be given as `context.device=mobile` and `user_features.age=30`.
        """
        parameters = http_request.query_params.items()
        request = RecommendRequest(
            k=k,
            explain=explain,
            audience_age=audience_age,
            context=_given(parameters, "context."),
            user_features=_given(parameters, "user_features."),
        )
        return await self._recommend(user, request)

    async def recommend_with(self, user: PathId, request: RecommendRequest) -> Response:
        """Recommend the best items for a user, with features of context and user in the body."""
        return await self._recommend(user, request)

    async def _recommend(self, user: str, request: RecommendRequest) -> Response:
        model, now, key = self._model, _now(), id_key(user)
        given = request.given(model.metadata.tables)
        rules = EligibilityRules(request.audience_age)
        with self._service.telemetry.ranking.time():
            ranked = model.recommend(key, request.k, now, rules, given)
        items = [entry.item for entry in ranked] if request.explain else []
        reasons = await run_in_threadpool(model.reasons, key, items, now, given) if items else ()
        entries = recommended_items(model.metadata.cards, ranked, reasons)
        identity = _as_in_data(user)
        return _json(RecommendAnswer(ModelName.from_version(model.version), identity, entries))

    async def feedback(self, request: FeedbackRequest) -> Response:
        """Record an interaction: when this is answered, it is on the disk and counts."""
        metadata = self._model.metadata
        spec = metadata.side.spec
        event = request.to_event(spec, metadata.tables, _now())
        if spec.items is not None and spec.items.complete:
            self._check_item(event.item, request.item)
        try:
            new = await asyncio.wrap_future(self._service.record(event))
        except OSError as error:
            raise HTTPException(507, f"the feedback could not be stored: {error}") from error
        answer = FeedbackAnswer(
            request.user, request.item, event.value, event.label, event.time, superseded=not new
        )
        return _json(answer, 201)

    async def items(self, q: SearchText, limit: ListLength = 20) -> Response:
        """Find items by title, in Korean or English."""
        metadata = self._model.metadata
        matches = metadata.search.find(q, limit)
        return _json(ItemsAnswer(tuple(metadata.cards.get(item) for item in matches)))

    async def item(self, item: PathId) -> Response:
        """Return the card of one item: its names and attributes."""
        key = id_key(item)
        self._check_item(key, item)
        return _json(self._model.metadata.cards.get(key))

    async def user(self, user: PathId) -> Response:
        """Return what a user has done so far, the newest first."""
        model, identity = self._model, _as_in_data(user)
        cards, events = model.metadata.cards, model.user_history.events(id_key(user))
        shown = [(event, cards.get(event.item)) for event in reversed(events)]
        ratings = [
            RatedItem(identity, card.item, event.value, event.label, event.time, card)
            for event, card in shown
        ]
        return _json(UserAnswer(identity, tuple(ratings)))

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

    def _check_item(self, key: int, item: int | str) -> None:
        """Refuse an unknown item: ingest would put its feedback into quarantine."""
        if key not in self._model.metadata.cards:
            raise HTTPException(404, f"there is no item {item}")


def _given(parameters: Iterable[tuple[str, str]], prefix: str) -> dict[str, Any]:
    """Return the features in a query that have this prefix."""
    return {k.removeprefix(prefix): v for k, v in parameters if k.startswith(prefix)}


def _as_in_data(identity: str) -> int | str:
    """Return an id in a path as the data have it: an integer, or text."""
    key = id_key(identity)
    return key if key < FIRST_TEXT_KEY else id_text(identity)


def _texts(
    model: ServingModel, items: Sequence[int | str], keys: Sequence[int]
) -> dict[int, int | str]:
    """Return the candidates' ids by key; empty if all are integers, which are their own keys."""
    if all(key < FIRST_TEXT_KEY for key in keys):
        return {}
    ids = model.metadata.names.item_ids
    return {
        key: ids.texts.get(key, item if key >= FIRST_TEXT_KEY else key)
        for key, item in zip(keys, items, strict=True)
    }


def _json(answer: object, status: int = 200) -> Response:
    return Response(orjson.dumps(answer), status, media_type="application/json")


def _now() -> int:
    return int(time.time())


_SCRIPTS = ("app.js", "base.js", "ratings.js", "reasons.js", "texts.js")
_MEDIA_TYPES = {
    "index.html": "text/html; charset=utf-8",
    "style.css": "text/css; charset=utf-8",
    **dict.fromkeys(_SCRIPTS, "text/javascript; charset=utf-8"),
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
