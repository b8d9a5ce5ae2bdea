"""What is found, as JSON values in the shapes of `messages`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import fsum
from typing import Any

from widedeep.serving.bundle import Bundle, Recommended
from widedeep.serving.event_log import Event
from widedeep.serving.films import Films
from widedeep.serving.ranker import Ranking
from widedeep.serving.service import Refused, Serving
from widedeep.serving.why import Reason

Json = dict[str, Any]

_HEAVIEST = 8
_DECISION = ("at", "version", "action", "reason", "champion_version", "replaced_version", "by")


def name_view(bundle: Bundle) -> Json:
    """Which model answers."""
    return {"name": bundle.version.model, "version": bundle.version.number}


def rank_view(bundle: Bundle, ranking: Ranking) -> Json:
    """A `RankAnswer`."""
    items = [{"movie": one.movie, "probability": one.probability} for one in ranking]
    return {"model": name_view(bundle), "items": items}


def recommended_view(
    bundle: Bundle, user: int, found: Sequence[Recommended], reasons: Sequence[Reason]
) -> Json:
    """A `RecommendAnswer`; without reasons none is told."""
    told: list[Json | None] = [why_view(reason, bundle.films) for reason in reasons]
    told = told or [None] * len(found)
    items = [
        {**asdict(one), "film": film_view(bundle.films, one.movie), "why": why}
        for one, why in zip(found, told, strict=True)
    ]
    return {"model": name_view(bundle), "user": user, "items": items}


def why_view(reason: Reason, films: Films) -> Json:
    """A `WhyItem`: features of weight 0 say nothing, so they are left out."""
    explanation = reason.explanation
    fired = [asdict(one) for one in explanation.wide if one.weight]
    return {
        "bias": explanation.bias,
        "offset": explanation.offset,
        "wide": fsum(one.weight for one in explanation.wide),
        "deep": explanation.deep,
        "logit": explanation.logit,
        "fired": fired[:_HEAVIEST],
        "similar": [_similar_view(films, one.movie, one.similarity) for one in reason.similar],
    }


def film_view(films: Films, movie: int) -> Json:
    """A `FilmCard`."""
    return asdict(films.get(movie))


def films_view(films: Films, movies: Sequence[int]) -> Json:
    """A `FilmsAnswer`."""
    return {"items": [film_view(films, movie) for movie in movies]}


def user_view(films: Films, user: int, ratings: Sequence[Event]) -> Json:
    """A `UserAnswer`."""
    items = [{**event_view(one), "film": film_view(films, one.movie)} for one in reversed(ratings)]
    return {"user": user, "ratings": items}


def event_view(event: Event) -> Json:
    """Its columns."""
    return asdict(event)


def health_view(serving: Serving, refused: Sequence[Refused]) -> Json:
    """A `HealthAnswer`."""
    return {
        "status": "ok",
        "model": name_view(serving.bundle),
        "refused": refused_view(refused[-1]) if refused else None,
    }


def model_view(
    serving: Serving, refused: Sequence[Refused], decisions: Sequence[Mapping[str, Any]]
) -> Json:
    """A `ModelAnswer`."""
    version = serving.bundle.version
    history = [{name: one.get(name) for name in _DECISION} for one in decisions]
    moves = [one for one in history if one["champion_version"] != one["replaced_version"]]
    ours = [one for one in moves if one["champion_version"] == version.number]
    return {
        "name": version.model,
        "version": version.number,
        "precision": serving.bundle.ranker.precision.value,
        "since": serving.since,
        "promoted": ours[-1] if ours else None,
        "refused": [refused_view(one) for one in refused],
        "history": history,
    }


def refused_view(refused: Refused) -> Json:
    """A `RefusedVersion`."""
    return {"version": refused.number, "reason": refused.reason, "at": refused.at}


def _similar_view(films: Films, movie: int, similarity: float) -> Json:
    film = films.get(movie)
    return {
        "movie": movie,
        "korean": film.korean,
        "english": film.english,
        "similarity": similarity,
    }
