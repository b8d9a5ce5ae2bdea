"""A simulated catalogue: movies, genres, countries, casts and people in KMRD's form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.simulated_names import joined, people_names, titles
from widedeep.data.simulation import MINUTE, Simulation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Table = Any
"""A pyarrow table; pyarrow has no types."""

FIRST_MOVIE = 10_001
_PEOPLE_A_MOVIE = 7
_GENRES = {
    "드라마": 529, "코미디": 233, "액션": 211, "멜로/로맨스": 172, "스릴러": 162, "범죄": 117,
    "모험": 117, "SF": 80, "공포": 79, "전쟁": 75, "판타지": 55, "미스터리": 48, "뮤지컬": 41,
    "가족": 40, "서부": 31, "느와르": 15, "에로": 10, "애니메이션": 6, "다큐멘터리": 3,
}  # fmt: skip
_COUNTRIES = {
    "미국": 654, "한국": 94, "영국": 94, "프랑스": 70, "홍콩": 51, "이탈리아": 43,
    "독일(구 서독)": 20, "오스트레일리아": 12, "대만": 10, "스페인": 7, "캐나다": 6, "일본": 6,
    "중국": 5, "스웨덴": 4, "남아프리카 공화국": 3,
}  # fmt: skip
_GRADES = {
    "청소년 관람불가": 229, "15세 관람가": 199, "NR": 175, "PG": 128, "12세 관람가": 112,
    "전체 관람가": 53, "PG-13": 25, "R": 22, "G": 14, None: 42,
}  # fmt: skip
# The share of movies that have 0, 1, 2 ... of them.
_GENRES_A_MOVIE = (0.035, 0.315, 0.355, 0.205, 0.09)
_COUNTRIES_A_MOVIE = (0.005, 0.895, 0.08, 0.02)
_NO_CAST, _NO_TITLE, _ONLY_YEAR, _NO_YEAR = 0.011, 0.008, 0.018, 0.39
_WELL_KNOWN, _RELEASED_AGAIN = 0.15, 0.7


@dataclass(frozen=True, slots=True)
class SimulatedCatalogue:
    """The movies and all that the files say of them.

    Attributes:
        tables: By file name, the pyarrow table to write: all of KMRD's files but rates.csv.
        popularity: float64 [movies], how often each is chosen; the sum is 1.
        opening: int64 [movies], the UNIX minute before which a movie has no rating; 0 for most.
        genre_links: int64 [links, 2], movie and genre, both counted from 0.
        lead_links: int64 [links, 2], movie and leading person, both counted from 0.
    """

    tables: Mapping[str, Table]
    popularity: Floats
    opening: Ints
    genre_links: Ints
    lead_links: Ints


def draw_catalogue(simulation: Simulation, rng: np.random.Generator) -> SimulatedCatalogue:
    """Draw a catalogue; movie `i`, counted from 0, has the id `FIRST_MOVIE + i`."""
    movies = simulation.movies
    rank = rng.permutation(movies)
    popularity = (rank + 2.0) ** -0.9 * np.exp(-4.0 * rank / movies)
    opening = _openings(simulation, rank, rng)
    genre_links = _links(_GENRES, _numbers(_GENRES_A_MOVIE, movies, rng), rng)
    country_links = _links(_COUNTRIES, _numbers(_COUNTRIES_A_MOVIE, movies, rng), rng)
    castings = _castings(movies, rng)
    people = np.cumsum(rng.integers(1, 118, movies * _PEOPLE_A_MOVIE))
    tables = {
        "movies.txt": _movie_table(simulation, rank, opening, rng),
        "genres.csv": _link_table("genre", _GENRES, genre_links),
        "countries.csv": _link_table("country", _COUNTRIES, country_links),
        "castings.csv": _casting_table(castings, people),
        "peoples.txt": _people_table(people, rng),
    }
    leads = castings[castings[:, 3] == 1, :2]
    return SimulatedCatalogue(tables, popularity / popularity.sum(), opening, genre_links, leads)


def _openings(simulation: Simulation, rank: Ints, rng: np.random.Generator) -> Ints:
    opening = np.zeros(simulation.movies, np.int64)
    late = int(simulation.new_movie_share * simulation.movies)
    # The most popular movie is always open, so every user finds something to rate.
    chosen = rng.permutation(np.flatnonzero(rank > 0))[:late]
    first, last = simulation.since // MINUTE, simulation.until // MINUTE
    opening[chosen] = rng.integers(first, last, chosen.size)
    return opening


def _movie_table(
    simulation: Simulation, rank: Ints, opening: Ints, rng: np.random.Generator
) -> Table:
    movies = simulation.movies
    original, year = _years(simulation, rank, opening, rng)
    # As in KMRD, it is the little known movies whose year is missing.
    no_year = rng.random(movies) < 2.5 * _NO_YEAR * (rank / movies) ** 1.5
    fate = rng.random(movies)
    no_title, only_year = fate < _NO_TITLE, fate >= 1 - _ONLY_YEAR
    title, english = titles(movies, rng)
    written = pa.array(original).cast(pa.string())
    english = pc.if_else(pa.array(only_year), written, joined(" , ", english, written))
    weights = np.array(list(_GRADES.values()), np.float64)
    grade = rng.choice(len(_GRADES), movies, p=weights / weights.sum())
    return pa.table(
        {
            "movie": FIRST_MOVIE + np.arange(movies),
            "title": pc.if_else(pa.array(no_title), None, title),
            "title_eng": pc.if_else(pa.array(no_title), None, english),
            "year": pa.array(year, mask=no_year | no_title),
            "grade": pa.array(_GRADES.keys()).take(pa.array(grade)),
        }
    )


def _years(
    simulation: Simulation, rank: Ints, opening: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Give each movie's original year, and the year of its last release: later for most."""
    earliest, latest = _year(np.array([simulation.since, simulation.until]) // MINUTE)
    old = np.minimum(np.rint(rng.normal(1976, 16, rank.size)), earliest).astype(np.int64)
    original = np.where(opening > 0, _year(opening), old)
    # Well-known old movies come back while people are rating, so their year tells the future.
    soonest = np.where(rank < _WELL_KNOWN * rank.size, np.maximum(original, earliest), original) + 1
    again = soonest + (rng.random(rank.size) * (latest + 1 - soonest)).astype(np.int64)
    return original, np.where(rng.random(rank.size) < _RELEASED_AGAIN, again, original)


def _year(minute: Ints) -> Ints:
    return minute.astype("datetime64[m]").astype("datetime64[Y]").astype(np.int64) + 1970


def _castings(movies: int, rng: np.random.Generator) -> Ints:
    """Give int64 [rows, 4]: movie, person (both from 0), order from 1, leading 0 or 1."""
    size = 1 + rng.poisson(rng.gamma(2.0, 4.5, movies))
    size[rng.random(movies) < _NO_CAST] = 0
    movie = np.repeat(np.arange(movies), size)
    leading = _position(movie) <= np.repeat(rng.poisson(1.9, movies), size)
    people = movies * _PEOPLE_A_MOVIE
    # Leading roles go to fewer people, so that a star is met again in other movies.
    skew = np.where(leading, 2.0, 1.3)
    person = (people * rng.random(movie.size) ** skew).astype(np.int64)
    _, kept = np.unique(movie * people + person, return_index=True)
    kept.sort()
    movie = movie[kept]
    return np.column_stack([movie, person[kept], 1 + _position(movie), leading[kept]])


def _casting_table(castings: Ints, people: Ints) -> Table:
    movie, person, order, leading = castings.T
    values = {"movie": FIRST_MOVIE + movie, "people": people[person]}
    return pa.table({**values, "order": order, "leading": leading})


def _people_table(people: Ints, rng: np.random.Generator) -> Table:
    korean, original = people_names(people.size, rng)
    return pa.table({"people": people, "korean": korean, "original": original})


def _numbers(shares: tuple[float, ...], movies: int, rng: np.random.Generator) -> Ints:
    return rng.choice(len(shares), movies, p=shares)


def _links(weights: Mapping[str, int], number: Ints, rng: np.random.Generator) -> Ints:
    """Choose `number[i]` different names for movie i; int64 [links, 2] of movie and name."""
    # The largest of log weight + Gumbel noise are a draw by weight without replacement.
    keys = np.log(list(weights.values())) + rng.gumbel(size=(number.size, len(weights)))
    best = np.argsort(-keys, axis=1)
    movie = np.repeat(np.arange(number.size), number)
    return np.column_stack([movie, best[movie, _position(movie)]])


def _link_table(column: str, names: Mapping[str, int], links: Ints) -> Table:
    name = pa.array(names.keys()).take(pa.array(links[:, 1]))
    return pa.table({"movie": FIRST_MOVIE + links[:, 0], column: name})


def _position(group: Ints) -> Ints:
    """Count each row's place, from 0, among the rows of its group; `group` is sorted."""
    return np.arange(group.size) - np.searchsorted(group, group)
