"""An id is the same wherever and however it is typed, and stands in answers as in the data."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data import ids
from widedeep.data.ids import (
    UNKNOWN_KEY,
    TextIds,
    category_text,
    category_texts,
    column_keys,
    composed,
    id_key,
    id_keys,
)
from widedeep.inputs import InputError

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp"]), max_size=12)


def keys_of(*texts):
    return id_keys(composed(pa.chunked_array([pa.array(texts, pa.string())]))).tolist()


def test_a_key_never_changes():
    assert (id_key("김철수"), id_key("u17")) == (5748937191873879984, 6576910039185698824)


def test_an_integer_is_its_own_key_but_007_is_not_7():
    assert keys_of("7", "0", "123456789012345678", None, " ") == [7, 0, 123456789012345678, -1, -1]
    others = keys_of("007", "-7", "7.0", "1e3", "1234567890123456789", "\u0667")
    assert min(others) > 10**18
    assert len({*others}) == len(others)


@given(TEXTS)
def test_the_key_of_a_text_is_that_of_its_composed_form(text):
    forms = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    keys = keys_of(*forms, f" {text}\t")
    assert len({*keys}) == 1
    assert keys[0] == (id_key(text) if ids.id_text(text) else UNKNOWN_KEY)


@given(TEXTS)
def test_text_that_is_stored_is_composed(text):
    (stored,) = composed(pa.chunked_array([[text]])).to_pylist()
    assert unicodedata.is_normalized("NFC", stored)


def test_a_column_is_written_as_it_was_read():
    texts = ["u1", "7", "가", "u1"]
    keys = np.array(keys_of(*texts))
    known = TextIds.from_table(keys, texts)
    assert known.column(keys).to_pylist() == texts
    np.testing.assert_array_equal(column_keys(pa.chunked_array([known.column(keys)])), keys)
    assert TextIds({}).column(np.array([7, 8])).to_pylist() == [7, 8]


def test_two_texts_with_one_key_are_refused():
    key = id_key("a")
    with pytest.raises(InputError, match="'a' and 'b' have the same 62-bit key"):
        TextIds.from_table(np.array([key, key]), ["a", "b"])


@pytest.mark.parametrize(
    ("values", "category"),
    [
        (("1", "1.0", " 1", 1, 1.0), "1"),
        (("true", "True", True), "true"),
        (("0.5", 0.5), "0.5"),
        (("TRUE",), "TRUE"),
    ],
)
def test_a_value_of_a_category_is_the_same_however_it_was_typed(values, category):
    texts = composed(pa.chunked_array([[str(value) for value in values]]))
    assert {*category_texts(texts).to_pylist()} == {category}
    assert {category_text(value) for value in values} == {category}


def test_an_empty_id_is_refused():
    with pytest.raises(InputError, match="an id is empty"):
        id_key("  ")
