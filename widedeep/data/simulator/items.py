"""A simulated item table: items, genres, countries, casts and people in KMRD's form.

Simulated names: titles of items and names of people, in Korean and in the original.

What a simulated KMRD should look like: the settings, checked at construction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.inputs import InputError

Texts = Any
"""A pyarrow array of strings; pyarrow has no types."""

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
_GIVEN = {
    "아담": "Adam", "알": "Al", "에이단": "Aidan", "그레이엄": "Graham", "줄리아": "Julia",
    "로버트": "Robert", "메리": "Mary", "피터": "Peter", "소피": "Sophie", "장": "Jean",
    "다이안": "Diane", "마틴": "Martin",
}  # fmt: skip
_FAMILIES = {
    "볼드윈": "Baldwin", "라인": "Lyne", "퀸": "Quinn", "파치노": "Pacino", "로버츠": "Roberts",
    "하이드": "Heid", "카터": "Carter", "윌슨": "Wilson", "벨": "Bell", "모로": "Moreau",
    "그랜트": "Grant", "스톤": "Stone", "헤이스": "Hayes", "린치": "Lynch",
}  # fmt: skip
_KOREAN_FAMILIES = tuple("김이박최정강조윤장임")
_SYLLABLES = tuple("미란영수진호준희경민성현지은")
_PARTS = ("", "", "", "", " 2", " 3")
_KOREAN_SHARE = 0.12


def titles(count: int, rng: np.random.Generator) -> tuple[Texts, Texts]:
    """Draw `count` titles, each in Korean and in English; a few are alike, as in KMRD."""
    place, place_english = _pairs(_PLACES, count, rng)
    quality, quality_english = _pairs(_QUALITIES, count, rng)
    thing, thing_english = _pairs(_THINGS, count, rng)
    part = _draw(_PARTS, count, rng)
    korean = joined(" ", place, quality, thing)
    english = joined(" Of ", joined(" ", quality_english, thing_english), place_english)
    return joined("", korean, part), joined("", english, part)


def people_names(count: int, rng: np.random.Generator) -> tuple[Texts, Texts]:
    """Draw `count` names in Korean, and in the original: missing where that is Korean too."""
    given, given_english = _pairs(_GIVEN, count, rng)
    family, family_english = _pairs(_FAMILIES, count, rng)
    syllables = (_draw(_SYLLABLES, count, rng) for _ in range(2))
    native = joined("", _draw(_KOREAN_FAMILIES, count, rng), *syllables)
    is_korean = pa.array(rng.random(count) < _KOREAN_SHARE)
    korean = pc.if_else(is_korean, native, joined(" ", given, family))
    original = pc.if_else(is_korean, None, joined(" ", given_english, family_english))
    return korean, original


def joined(by: str, *texts: Texts) -> Texts:
    """Join the arrays row by row; missing where one is missing."""
    return pc.binary_join_element_wise(*texts, by)


def _pairs(names: Mapping[str, str], count: int, rng: np.random.Generator) -> tuple[Texts, Texts]:
    index = pa.array(rng.integers(0, len(names), count))
    return pa.array(names.keys()).take(index), pa.array(names.values()).take(index)


def _draw(names: tuple[str, ...], count: int, rng: np.random.Generator) -> Texts:
    return pa.array(names).take(pa.array(rng.integers(0, len(names), count)))


MINUTE = 60
_DAY = 24 * 60 * MINUTE
_ITEMS_AN_EXCEPTION = 4
_MOST_RATINGS = 5_000


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """Sizes and shape of a simulated data set; the defaults follow KMRD-small.

    Attributes:
        users: Distinct users in rates.csv; each rates at least once.
        items: Rows of movies.txt; as in KMRD, not every one is rated.
        ratings: Rows of rates.csv.
        seed: Everything random follows from it.
        latent_dimension: Length of the taste vectors of users and items.
        exceptions: Planted pairs "liked A before, so likes (or dislikes) B".
        exception_effect: What each second planted pair adds to B's logit, the others take from it.
        positive_share: About this part of all ratings is a 10.
        single_share: This part of the users rates exactly once, as far as the totals allow.
        cold_share: About this part of a later month's ratings comes from users first seen in that
            month; first ratings alone can make it more.
        repeat_share: About this part of all rows rates a pair of user and item again.
        new_item_share: This part of the items opens during the span and has no rating before.
        user_spread: Standard deviation of the users' biases, in logits.
        item_spread: Standard deviation of the items' biases, in logits.
        taste_spread: Standard deviation of the product of taste vectors, in logits.
        drift: By how much all items together lose appeal over the whole span, and the standard
            deviation of each item's own change, in logits.
        growth: The density of new users grows with this power of the time gone by.
        since: Earliest rating, UNIX seconds.
        until: No rating is later, UNIX seconds.

    Raises:
        InputError: A setting is out of range, or the ratings don't fit the users and items.
    """

    users: int = 52_028
    items: int = 999
    ratings: int = 140_710
    seed: int = 0
    latent_dimension: int = 8
    exceptions: int = 8
    exception_effect: float = 2.5
    positive_share: float = 0.67
    single_share: float = 0.68
    cold_share: float = 0.56
    repeat_share: float = 0.045
    new_item_share: float = 0.15
    user_spread: float = 2.2
    item_spread: float = 1.3
    taste_spread: float = 1.0
    drift: float = 0.6
    growth: float = 0.5
    since: int = 1_069_340_400
    until: int = 1_576_525_860

    def __post_init__(self) -> None:
        """Check every setting; see the class."""
        for name in ("users", "items", "latent_dimension"):
            self._require(name, 1, None)
        for name in ("seed", "since", "exceptions"):
            self._require(name, 0, None)
        for name in ("user_spread", "item_spread", "taste_spread", "drift", "growth"):
            self._require(name, 0, 100)
        for name in ("single_share", "cold_share"):
            self._require(name, 0, 1)
        for name in ("repeat_share", "new_item_share"):
            self._require(name, 0, 0.5)
        self._require("positive_share", 0.01, 0.99)
        self._require("exception_effect", 0, 10)
        self._require("until", self.since + _DAY, 2**32)
        self._require("exceptions", 0, self.items // _ITEMS_AN_EXCEPTION)
        self._require("ratings", self.users, self.most_ratings)

    @property
    def most_items(self) -> int:
        """The most ratings one user may give: half of the items, or 5,000."""
        return max(1, min(_MOST_RATINGS, self.items // 2))

    @property
    def several(self) -> int:
        """How many users rate more than once."""
        wanted = self.users - round(self.single_share * self.users)
        return max(0, min(wanted, self.ratings - self.users))

    @property
    def most_ratings(self) -> int:
        """The most ratings that the users may give together."""
        several = self.users - round(self.single_share * self.users)
        return self.users + several * (self.most_items - 1)

    def _require(self, name: str, least: float, most: float | None) -> None:
        value = getattr(self, name)
        may_be_broken = type(self).__annotations__[name] is float
        in_range = least <= value and (most is None or value <= most)
        if in_range and (may_be_broken or isinstance(value, int)):
            return
        kind = "number" if may_be_broken else "whole number"
        wanted = f"at least {least}" if most is None else f"from {least} to {most}"
        raise InputError(f"simulation: {name} is {value!r}; a {kind} {wanted} is wanted")


Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Table = Any
"""A pyarrow table; pyarrow has no types."""

FIRST_ITEM = 10_001
_PEOPLE_A_ITEM = 7
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
# The share of items that have 0, 1, 2 ... of them.
_GENRES_A_ITEM = (0.035, 0.315, 0.355, 0.205, 0.09)
_COUNTRIES_A_ITEM = (0.005, 0.895, 0.08, 0.02)
_NO_CAST, _NO_TITLE, _ONLY_YEAR, _NO_YEAR = 0.011, 0.008, 0.018, 0.39
_WELL_KNOWN, _RELEASED_AGAIN = 0.15, 0.7


@dataclass(frozen=True, slots=True)
class SimulatedItems:
    """The items and all that the files say of them.

    Attributes:
        tables: By file name, the pyarrow table to write: all of KMRD's files but rates.csv.
        popularity: float64 [items], how often each is chosen; the sum is 1.
        opening: int64 [items], the UNIX minute before which a item has no rating; 0 for most.
        genre_links: int64 [links, 2], item and genre, both counted from 0.
        lead_links: int64 [links, 2], item and leading person, both counted from 0.
    """

    tables: Mapping[str, Table]
    popularity: Floats
    opening: Ints
    genre_links: Ints
    lead_links: Ints


def draw_items(simulation: SimulationConfig, rng: np.random.Generator) -> SimulatedItems:
    """Draw a item table; item `i`, counted from 0, has the id `FIRST_ITEM + i`."""
    items = simulation.items
    rank = rng.permutation(items)
    popularity = (rank + 2.0) ** -0.9 * np.exp(-4.0 * rank / items)
    opening = _openings(simulation, rank, rng)
    genre_links = _links(_GENRES, _numbers(_GENRES_A_ITEM, items, rng), rng)
    country_links = _links(_COUNTRIES, _numbers(_COUNTRIES_A_ITEM, items, rng), rng)
    castings = _castings(items, rng)
    people = np.cumsum(rng.integers(1, 118, items * _PEOPLE_A_ITEM))
    tables = {
        "movies.txt": _item_table(simulation, rank, opening, rng),
        "genres.csv": _link_table("genre", _GENRES, genre_links),
        "countries.csv": _link_table("country", _COUNTRIES, country_links),
        "castings.csv": _casting_table(castings, people),
        "peoples.txt": _people_table(people, rng),
    }
    leads = castings[castings[:, 3] == 1, :2]
    return SimulatedItems(tables, popularity / popularity.sum(), opening, genre_links, leads)


def _openings(simulation: SimulationConfig, rank: Ints, rng: np.random.Generator) -> Ints:
    opening = np.zeros(simulation.items, np.int64)
    late = int(simulation.new_item_share * simulation.items)
    # The most popular item is always open, so every user finds something to rate.
    chosen = rng.permutation(np.flatnonzero(rank > 0))[:late]
    first, last = simulation.since // MINUTE, simulation.until // MINUTE
    opening[chosen] = rng.integers(first, last, chosen.size)
    return opening


def _item_table(
    simulation: SimulationConfig, rank: Ints, opening: Ints, rng: np.random.Generator
) -> Table:
    items = simulation.items
    original, year = _years(simulation, rank, opening, rng)
    # As in KMRD, it is the little known items whose year is missing.
    no_year = rng.random(items) < 2.5 * _NO_YEAR * (rank / items) ** 1.5
    fate = rng.random(items)
    no_title, only_year = fate < _NO_TITLE, fate >= 1 - _ONLY_YEAR
    title, english = titles(items, rng)
    written = pa.array(original).cast(pa.string())
    english = pc.if_else(pa.array(only_year), written, joined(" , ", english, written))
    weights = np.array(list(_GRADES.values()), np.float64)
    grade = rng.choice(len(_GRADES), items, p=weights / weights.sum())
    return pa.table(
        {
            "movie": FIRST_ITEM + np.arange(items),
            "title": pc.if_else(pa.array(no_title), None, title),
            "title_eng": pc.if_else(pa.array(no_title), None, english),
            "year": pa.array(year, mask=no_year | no_title),
            "grade": pa.array(_GRADES.keys()).take(pa.array(grade)),
        }
    )


def _years(
    simulation: SimulationConfig, rank: Ints, opening: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Give each item's original year, and the year of its last release: later for most."""
    earliest, latest = _year(np.array([simulation.since, simulation.until]) // MINUTE)
    old = np.minimum(np.rint(rng.normal(1976, 16, rank.size)), earliest).astype(np.int64)
    original = np.where(opening > 0, _year(opening), old)
    # Well-known old items come back while people are rating, so their year tells the future.
    soonest = np.where(rank < _WELL_KNOWN * rank.size, np.maximum(original, earliest), original) + 1
    again = soonest + (rng.random(rank.size) * (latest + 1 - soonest)).astype(np.int64)
    return original, np.where(rng.random(rank.size) < _RELEASED_AGAIN, again, original)


def _year(minute: Ints) -> Ints:
    return minute.astype("datetime64[m]").astype("datetime64[Y]").astype(np.int64) + 1970


def _castings(items: int, rng: np.random.Generator) -> Ints:
    """Give int64 [rows, 4]: item, person (both from 0), order from 1, leading 0 or 1."""
    size = 1 + rng.poisson(rng.gamma(2.0, 4.5, items))
    size[rng.random(items) < _NO_CAST] = 0
    item = np.repeat(np.arange(items), size)
    leading = _position(item) <= np.repeat(rng.poisson(1.9, items), size)
    people = items * _PEOPLE_A_ITEM
    # Leading roles go to fewer people, so that a star is met again in other items.
    skew = np.where(leading, 2.0, 1.3)
    person = (people * rng.random(item.size) ** skew).astype(np.int64)
    _, kept = np.unique(item * people + person, return_index=True)
    kept.sort()
    item = item[kept]
    return np.column_stack([item, person[kept], 1 + _position(item), leading[kept]])


def _casting_table(castings: Ints, people: Ints) -> Table:
    item, person, order, leading = castings.T
    values = {"movie": FIRST_ITEM + item, "people": people[person]}
    return pa.table({**values, "order": order, "leading": leading})


def _people_table(people: Ints, rng: np.random.Generator) -> Table:
    korean, original = people_names(people.size, rng)
    return pa.table({"people": people, "korean": korean, "original": original})


def _numbers(shares: tuple[float, ...], items: int, rng: np.random.Generator) -> Ints:
    return rng.choice(len(shares), items, p=shares)


def _links(weights: Mapping[str, int], number: Ints, rng: np.random.Generator) -> Ints:
    """Choose `number[i]` different names for item i; int64 [links, 2] of item and name."""
    # The largest of log weight + Gumbel noise are a draw by weight without replacement.
    keys = np.log(list(weights.values())) + rng.gumbel(size=(number.size, len(weights)))
    best = np.argsort(-keys, axis=1)
    item = np.repeat(np.arange(number.size), number)
    return np.column_stack([item, best[item, _position(item)]])


def _link_table(column: str, names: Mapping[str, int], links: Ints) -> Table:
    name = pa.array(names.keys()).take(pa.array(links[:, 1]))
    return pa.table({"movie": FIRST_ITEM + links[:, 0], column: name})


def _position(group: Ints) -> Ints:
    """Count each row's place, from 0, among the rows of its group; `group` is sorted."""
    return np.arange(group.size) - np.searchsorted(group, group)
