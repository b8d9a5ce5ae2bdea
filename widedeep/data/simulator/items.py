"""The simulated item table: items, genres, countries, casts and people in KMRD's form.

`draw_items` draws everything that the files say about items, including titles and names of people
in Korean and in the original language.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.simulator.config import MINUTE, SimulationConfig

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Table = Any
"""A pyarrow table; pyarrow has no types."""
Texts = Any
"""A pyarrow array of strings."""

FIRST_ITEM = 10_001
_PEOPLE_PER_ITEM = 7
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
# The share of items that have 0, 1, 2 ... genres or countries.
_GENRES_PER_ITEM = (0.035, 0.315, 0.355, 0.205, 0.09)
_COUNTRIES_PER_ITEM = (0.005, 0.895, 0.08, 0.02)
_NO_CAST, _NO_TITLE, _ONLY_YEAR, _NO_YEAR = 0.011, 0.008, 0.018, 0.39
_WELL_KNOWN, _RELEASED_AGAIN = 0.15, 0.7
_PLACES = {
    "서울의": "Seoul", "바다의": "The Sea", "숲속의": "The Woods", "파리의": "Paris",
    "도시의": "The City", "사막의": "The Desert", "부산의": "Busan", "북쪽의": "The North",
}  # fmt: skip
_QUALITIES = {
    "푸른": "Blue", "마지막": "Last", "긴": "Long", "어두운": "Dark", "잃어버린": "Lost",
    "작은": "Little", "낯선": "Strange", "뜨거운": "Hot", "조용한": "Quiet", "붉은": "Red",
}  # fmt: skip
_THINGS = {
    "밤": "Night", "기차": "Train", "여름": "Summer", "거리": "Street", "천국": "Paradise",
    "약속": "Promise", "형사": "Detective", "편지": "Letter", "아이": "Child", "섬": "Island",
    "노래": "Song", "전쟁": "War", "그림자": "Shadow", "여행": "Journey",
}  # fmt: skip
_FIRST_NAMES = {
    "아담": "Adam", "알": "Al", "에이단": "Aidan", "그레이엄": "Graham", "줄리아": "Julia",
    "로버트": "Robert", "메리": "Mary", "피터": "Peter", "소피": "Sophie", "장": "Jean",
    "다이안": "Diane", "마틴": "Martin",
}  # fmt: skip
_FAMILY_NAMES = {
    "볼드윈": "Baldwin", "라인": "Lyne", "퀸": "Quinn", "파치노": "Pacino", "로버츠": "Roberts",
    "하이드": "Heid", "카터": "Carter", "윌슨": "Wilson", "벨": "Bell", "모로": "Moreau",
    "그랜트": "Grant", "스톤": "Stone", "헤이스": "Hayes", "린치": "Lynch",
}  # fmt: skip
_KOREAN_FAMILY_NAMES = tuple("김이박최정강조윤장임")
_SYLLABLES = tuple("미란영수진호준희경민성현지은")
_PARTS = ("", "", "", "", " 2", " 3")
_KOREAN_SHARE = 0.12


@dataclass(frozen=True, slots=True)
class SimulatedItems:
    """The items and everything that the files say about them.

    Attributes:
        tables: By file name, the pyarrow table to write: all of KMRD's files but rates.csv.
        popularity: (items,) float64, how often each item is chosen; the sum is 1.
        opening: (items,) int64, the UNIX minute before which the item has no rating; 0 for most.
        genre_links: (links, 2) int64, codes of an item and of a genre.
        lead_links: (links, 2) int64, codes of an item and of a leading person.
    """

    tables: Mapping[str, Table]
    popularity: Floats
    opening: Ints
    genre_links: Ints
    lead_links: Ints


def draw_items(config: SimulationConfig, rng: np.random.Generator) -> SimulatedItems:
    """Draw an item table; the item with code `i` has the id `FIRST_ITEM + i`."""
    items = config.items
    rank = rng.permutation(items)
    popularity = (rank + 2.0) ** -0.9 * np.exp(-4.0 * rank / items)
    opening = _draw_openings(config, rank, rng)
    genre_links = _draw_links(_GENRES, _draw_counts(_GENRES_PER_ITEM, items, rng), rng)
    country_links = _draw_links(_COUNTRIES, _draw_counts(_COUNTRIES_PER_ITEM, items, rng), rng)
    castings = _draw_castings(items, rng)
    people = np.cumsum(rng.integers(1, 118, items * _PEOPLE_PER_ITEM))
    tables = {
        "movies.txt": _item_table(config, rank, opening, rng),
        "genres.csv": _link_table("genre", _GENRES, genre_links),
        "countries.csv": _link_table("country", _COUNTRIES, country_links),
        "castings.csv": _casting_table(castings, people),
        "peoples.txt": _people_table(people, rng),
    }
    leads = castings[castings[:, 3] == 1, :2]
    return SimulatedItems(tables, popularity / popularity.sum(), opening, genre_links, leads)


def _draw_openings(config: SimulationConfig, rank: Ints, rng: np.random.Generator) -> Ints:
    """Draw the UNIX minute at which each item opens, (items,) int64; 0 for most."""
    opening = np.zeros(config.items, np.int64)
    late = int(config.new_item_share * config.items)
    # The most popular item is always open, so every user finds something to rate.
    chosen = rng.permutation(np.flatnonzero(rank > 0))[:late]
    first, last = config.since // MINUTE, config.until // MINUTE
    opening[chosen] = rng.integers(first, last, chosen.size)
    return opening


def _item_table(
    config: SimulationConfig, rank: Ints, opening: Ints, rng: np.random.Generator
) -> Table:
    items = config.items
    original, year = _draw_years(config, rank, opening, rng)
    # As in KMRD, the year is missing for little-known items.
    lacks_year = rng.random(items) < 2.5 * _NO_YEAR * (rank / items) ** 1.5
    fate = rng.random(items)
    lacks_title, only_year = fate < _NO_TITLE, fate >= 1 - _ONLY_YEAR
    title, english = draw_titles(items, rng)
    written = pa.array(original).cast(pa.string())
    english = pc.if_else(pa.array(only_year), written, _join(" , ", english, written))
    weights = np.array(list(_GRADES.values()), np.float64)
    grade = rng.choice(len(_GRADES), items, p=weights / weights.sum())
    return pa.table(
        {
            "movie": FIRST_ITEM + np.arange(items),
            "title": pc.if_else(pa.array(lacks_title), None, title),
            "title_eng": pc.if_else(pa.array(lacks_title), None, english),
            "year": pa.array(year, mask=lacks_year | lacks_title),
            "grade": pa.array(_GRADES.keys()).take(pa.array(grade)),
        }
    )


def _draw_years(
    config: SimulationConfig, rank: Ints, opening: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Draw each item's original year and the year of its last release, which is later for most."""
    earliest, latest = _year(np.array([config.since, config.until]) // MINUTE)
    old = np.minimum(np.rint(rng.normal(1976, 16, rank.size)), earliest).astype(np.int64)
    original = np.where(opening > 0, _year(opening), old)
    # Well-known old items come back while people are rating, so their year leaks the future.
    soonest = np.where(rank < _WELL_KNOWN * rank.size, np.maximum(original, earliest), original) + 1
    again = soonest + (rng.random(rank.size) * (latest + 1 - soonest)).astype(np.int64)
    return original, np.where(rng.random(rank.size) < _RELEASED_AGAIN, again, original)


def _year(minute: Ints) -> Ints:
    return minute.astype("datetime64[m]").astype("datetime64[Y]").astype(np.int64) + 1970


def _draw_castings(items: int, rng: np.random.Generator) -> Ints:
    """Return (rows, 4) int64: codes of item and person, order from 1, leading 0 or 1."""
    size = 1 + rng.poisson(rng.gamma(2.0, 4.5, items))
    size[rng.random(items) < _NO_CAST] = 0
    item = np.repeat(np.arange(items), size)
    leading = _position(item) <= np.repeat(rng.poisson(1.9, items), size)
    people = items * _PEOPLE_PER_ITEM
    # Leading roles go to fewer people, so that a star appears in several items.
    skew = np.where(leading, 2.0, 1.3)
    person = (people * rng.random(item.size) ** skew).astype(np.int64)
    _, rows = np.unique(item * people + person, return_index=True)
    rows.sort()
    item = item[rows]
    return np.column_stack([item, person[rows], 1 + _position(item), leading[rows]])


def _casting_table(castings: Ints, people: Ints) -> Table:
    item, person, order, leading = castings.T
    values = {"movie": FIRST_ITEM + item, "people": people[person]}
    return pa.table({**values, "order": order, "leading": leading})


def _people_table(people: Ints, rng: np.random.Generator) -> Table:
    korean, original = _draw_people_names(people.size, rng)
    return pa.table({"people": people, "korean": korean, "original": original})


def _draw_counts(shares: tuple[float, ...], items: int, rng: np.random.Generator) -> Ints:
    """Draw a number from 0 for each item, (items,), with these shares."""
    return rng.choice(len(shares), items, p=shares)


def _draw_links(weights: Mapping[str, int], count: Ints, rng: np.random.Generator) -> Ints:
    """Choose `count[i]` different names for item i; return (links, 2) codes of item and name."""
    # The largest sums of log weight and Gumbel noise are a weighted draw without replacement.
    keys = np.log(list(weights.values())) + rng.gumbel(size=(count.size, len(weights)))
    best = np.argsort(-keys, axis=1)
    item = np.repeat(np.arange(count.size), count)
    return np.column_stack([item, best[item, _position(item)]])


def _link_table(column: str, names: Mapping[str, int], links: Ints) -> Table:
    name = pa.array(names.keys()).take(pa.array(links[:, 1]))
    return pa.table({"movie": FIRST_ITEM + links[:, 0], column: name})


def _position(group: Ints) -> Ints:
    """Return each row's position among the rows of its group, from 0; `group` is sorted."""
    return np.arange(group.size) - np.searchsorted(group, group)


def draw_titles(count: int, rng: np.random.Generator) -> tuple[Texts, Texts]:
    """Draw `count` titles, each in Korean and in English; a few are equal, as in KMRD."""
    place, place_english = _draw_pairs(_PLACES, count, rng)
    quality, quality_english = _draw_pairs(_QUALITIES, count, rng)
    thing, thing_english = _draw_pairs(_THINGS, count, rng)
    part = _draw(_PARTS, count, rng)
    korean = _join(" ", place, quality, thing)
    english = _join(" Of ", _join(" ", quality_english, thing_english), place_english)
    return _join("", korean, part), _join("", english, part)


def _draw_people_names(count: int, rng: np.random.Generator) -> tuple[Texts, Texts]:
    """Draw `count` names in Korean and in the original, which is missing for Korean names."""
    first, first_english = _draw_pairs(_FIRST_NAMES, count, rng)
    family, family_english = _draw_pairs(_FAMILY_NAMES, count, rng)
    syllables = (_draw(_SYLLABLES, count, rng) for _ in range(2))
    native = _join("", _draw(_KOREAN_FAMILY_NAMES, count, rng), *syllables)
    is_korean = pa.array(rng.random(count) < _KOREAN_SHARE)
    korean = pc.if_else(is_korean, native, _join(" ", first, family))
    original = pc.if_else(is_korean, None, _join(" ", first_english, family_english))
    return korean, original


def _join(by: str, *texts: Texts) -> Texts:
    """Join the arrays row by row; the result is missing where any of them is missing."""
    return pc.binary_join_element_wise(*texts, by)


def _draw_pairs(
    names: Mapping[str, str], count: int, rng: np.random.Generator
) -> tuple[Texts, Texts]:
    index = pa.array(rng.integers(0, len(names), count))
    return pa.array(names.keys()).take(index), pa.array(names.values()).take(index)


def _draw(names: tuple[str, ...], count: int, rng: np.random.Generator) -> Texts:
    return pa.array(names).take(pa.array(rng.integers(0, len(names), count)))
