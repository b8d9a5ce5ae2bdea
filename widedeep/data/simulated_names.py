"""Simulated names: titles of movies and names of people, in Korean and in the original."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
