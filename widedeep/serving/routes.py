"""The answers of the HTTP interface."""

import asyncio
import random
import time
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.concurrency import run_in_threadpool

from widedeep.serving import messages, views
from widedeep.serving.bundle import Bundle
from widedeep.serving.event_log import Event
from widedeep.serving.failures import ANY_TIME, NO_SUCH_MOVIE, STORAGE
from widedeep.serving.messages import MOST_RECOMMENDED, RankRequest, RatingRequest, Token
from widedeep.serving.rules import Rules
from widedeep.serving.service import Service

_NEW_USERS = (1_000_000, 10_000_000)

Words = Annotated[str, Query(min_length=1, max_length=100)]
Age = Annotated[int, Query(ge=0, le=150)]
ListLength = Annotated[int, Query(ge=1, le=MOST_RECOMMENDED)]


class Routes:
    """Asks a service; reading is done where the request arrives, waiting and explaining is not."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def router(self) -> APIRouter:
        """All of them."""
        router = APIRouter(responses=ANY_TIME)
        for method, path, answer, model, more in (
            ("POST", "/rank", self.rank, messages.RankAnswer, {}),
            ("GET", "/recommend/{user}", self.recommend, messages.RecommendAnswer, {}),
            ("POST", "/ratings", self.rate, messages.RatingAnswer, {**NO_SUCH_MOVIE, **STORAGE}),
            ("GET", "/movies", self.find, messages.FilmsAnswer, {}),
            ("GET", "/movies/{movie}", self.movie, messages.FilmCard, NO_SUCH_MOVIE),
            ("GET", "/users/{user}", self.user, messages.UserAnswer, {}),
            ("GET", "/new-user", self.new_user, messages.NewUserAnswer, {}),
            ("GET", "/health", self.health, messages.HealthAnswer, {}),
            ("GET", "/model", self.model, messages.ModelAnswer, {}),
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
        return _json(views.rank_view(bundle, ranking))

    async def recommend(
        self,
        user: Token,
        k: ListLength = 10,
        audience_age: Age | None = None,
        *,
        explain: bool = False,
    ) -> Response:
        """The best films of all for a user, without those that the user has rated.

        With `audience_age` without those that ask for more years of age, too.
        """
        bundle, now = self._bundle, _now()
        with self._service.telemetry.ranking.time():
            found = bundle.recommend(user, k, now, Rules(audience_age))
        movies = [one.movie for one in found] if explain else []
        reasons = await run_in_threadpool(bundle.reasons, user, movies, now) if movies else ()
        return _json(views.recommended_view(bundle, user, found, reasons))

    async def rate(self, request: RatingRequest) -> Response:
        """Take a rating: it is on the disk and counts when this is answered."""
        now = _now()
        moment = now if request.time is None else request.time
        if moment > now:
            raise HTTPException(422, f"time: {moment} is in the future, it is {now} now")
        self._known(request.movie)
        event = Event(request.user, request.movie, request.rate, moment)
        try:
            news = await asyncio.wrap_future(self._service.rate(event))
        except OSError as error:
            raise HTTPException(507, f"the rating could not be kept: {error}") from error
        return _json({**views.event_view(event), "superseded": not news}, 201)

    async def find(self, q: Words, limit: ListLength = 20) -> Response:
        """Films by title, in Korean or English."""
        bundle = self._bundle
        return _json(views.films_view(bundle.films, bundle.titles.find(q, limit)))

    async def movie(self, movie: Token) -> Response:
        """One film."""
        self._known(movie)
        return _json(views.film_view(self._bundle.films, movie))

    async def user(self, user: Token) -> Response:
        """What a user has rated so far."""
        bundle = self._bundle
        return _json(views.user_view(bundle.films, user, bundle.book.of_user(user)))

    async def new_user(self) -> Response:
        """An id that nobody has."""
        bundle, user = self._bundle, 0
        while not user or bundle.book.of_user(user):
            user = random.randrange(*_NEW_USERS)  # noqa: S311  it is no secret
        return _json({"user": user})

    async def health(self) -> Response:
        """Whether users are answered, and by what."""
        return _json(views.health_view(self._service.serving, self._service.refused))

    async def model(self) -> Response:
        """Which model answers, why, and what was decided before."""
        service, serving = self._service, self._service.serving
        decisions = await run_in_threadpool(service.decisions)
        return _json(views.model_view(serving, service.refused, decisions))

    async def metrics(self) -> Response:
        """For Prometheus."""
        return Response(self._service.telemetry.text(), media_type=_PROMETHEUS)

    @property
    def _bundle(self) -> Bundle:
        return self._service.serving.bundle

    def _known(self, movie: int) -> None:
        """A rating of another film would be set aside by the next retrain."""
        if movie not in self._bundle.films:
            raise HTTPException(404, f"there is no movie {movie}")


_PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "Metrics"}
}


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")


def _now() -> int:
    return int(time.time())
