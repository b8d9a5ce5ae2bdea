"""Searching titles: what is typed finds the item, at every letter and in both languages."""

import time
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import ITEM_COLUMNS
from widedeep.inputs import InputError
from widedeep.serving.item_search import ItemSearch, initials, plain_words, typed_letters

ITEMS = {
    1: ("매트릭스", "The Matrix"),
    2: ("매트릭스 2 - 리로디드", "The Matrix Reloaded"),
    3: ("아멜리에", "Amelie Of Montmartre\nLe Fabuleux Destin d'Amélie Poulain"),
    4: ("스타워즈 에피소드 5 - 제국의 역습", "Star Wars Episode V: The Empire Strikes Back"),
    5: ("닭강정", None),
    6: (None, "X-Men 2"),
    7: ("", ""),
    8: ("과속 스캔들", ""),
    9: ("이웃집 토토로", "My Neighbor Totoro\nとなりのトトロ"),
    10: ("매미", "Cicada"),
}


def table(items):
    """Items with a Korean title and English ones, the one to display first, a line each."""
    rows = []
    for key, (korean, english) in items.items():
        first, _, others = (english or "").partition("\n")
        rows.append({"item": key, "title_ko": korean, "title_en": first, "also_en": others})
    return pa.Table.from_pylist(rows, ITEM_COLUMNS)


@pytest.fixture(scope="module")
def search():
    return ItemSearch.from_table(table(ITEMS))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("매트릭스", (1, 2)),
        ("  매 트릭스!", (1, 2)),
        ("트릭스", (1, 2)),
        ("맽", (1, 2)),
        ("매", (1, 2, 10)),
        ("매ㅌ", (1, 2)),
        ("ㅁㅌㄹㅅ", (1, 2)),
        ("ㅁㅌㄹㅅㄹ", ()),
        ("ㅁㅌㄹㅅ2", (2,)),
        ("ㄳㅅㅋㄷ", (8,)),
        ("고", (8,)),
        ("달", (5,)),
        ("닭ㄱ", (5,)),
        ("역스", (4,)),
        ("MATRIX", (1, 2)),
        ("the matrix re", (2,)),
        ("matrix reloaded", (2,)),
        ("amelie", (3,)),
        ("Amélie", (3,)),
        ("destin d'amelie", (3,)),
        ("empire star", (4,)),
        ("스타 strikes", (4,)),
        ("star nothing", ()),
        ("xmen", (6,)),
        ("x men 2", (6,)),
        ("トトロ", (9,)),
        ("neighbor", (9,)),
        ("1988", ()),
        ("?!", ()),
        ("", ()),
        ("\n", ()),
    ],
)
def test_what_is_typed_finds_the_item(search, text, expected):
    assert search.find(text) == expected


def test_a_text_in_other_unicode_forms_finds_the_same(search):
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert search.find(unicodedata.normalize(form, "매트릭스")) == (1, 2)


def test_whole_titles_come_first_then_beginnings_of_titles_of_words_and_what_is_inside():
    items = {1: ("", "Unstarred"), 2: ("", "My Star"), 3: ("", "Starlight"), 4: ("", "The Star")}
    assert ItemSearch.from_table(table(items)).find("star") == (4, 3, 2, 1)


def test_among_equals_the_more_popular_come_first():
    weights = np.arange(len(ITEMS)) * 1.0
    assert ItemSearch.from_table(table(ITEMS), weights).find("매") == (10, 2, 1)
    assert ItemSearch.from_table(table(ITEMS), weights).find("매트릭스") == (1, 2), (
        "the whole title"
    )


def test_no_more_items_than_the_limit_are_found(search):
    assert search.find("매", 2) == (1, 2)
    with pytest.raises(InputError, match="limit is 0"):
        search.find("매", 0)


def test_without_items_nothing_is_found():
    assert ItemSearch.from_table(ITEM_COLUMNS.empty_table()).find("star") == ()


@given(st.text(max_size=30))
def test_any_text_is_answered(search, text):
    assert set(search.find(text)) <= set(ITEMS)


@settings(max_examples=60)
@given(
    titles=st.lists(st.text("가각과닭 abAé-2", min_size=1, max_size=8), min_size=1, max_size=12),
    data=st.data(),
)
def test_every_beginning_of_a_title_finds_it(titles, data):
    search = ItemSearch.from_table(table({i: (title, "") for i, title in enumerate(titles)}))
    i = data.draw(st.integers(0, len(titles) - 1))
    letters = "".join(map(typed_letters, plain_words(titles[i])))
    beginning = letters[: data.draw(st.integers(1, max(len(letters), 1)))]
    matches = search.find(beginning, len(titles))
    if beginning.isascii() or any(letter >= "ㅏ" for letter in beginning):
        assert i in matches or not beginning
    else:
        assert search.find(initials(plain_words(titles[i])[0])[0]), (
            "consonants alone are those of words"
        )


def test_ten_thousand_titles_are_searched_within_five_milliseconds():
    items = {i: (f"영화 {i} 매트릭스", f"The Film {i} of the East") for i in range(10_000)}
    search = ItemSearch.from_table(table(items))
    for text in ("the of e", "매트릭스", "e", "ㅁ", "없다"):
        seconds = []
        for _ in range(9):
            began = time.perf_counter()
            search.find(text)
            seconds.append(time.perf_counter() - began)
        assert min(seconds) < 0.005, text
