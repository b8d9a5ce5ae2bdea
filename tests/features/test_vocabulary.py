"""Vocabularies: ids become dense codes by count, alike for numbers, Korean words and bags."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import OUT_OF_VOCABULARY, IndexedBag, Vocabulary, count_distinct

STRINGS = np.dtypes.StringDType()
LONG = ["독일(구 서독)", "유고슬라비아", "청소년 관람불가", "벨라루스(구 소련)"]  # over 15 bytes
INTEGERS = st.lists(st.sampled_from([-(2**62), -1, 0, 3, 7, 2**40]) | st.integers(0, 9))
WORDS = st.lists(
    st.text("가각힣ㄱa \0", max_size=8) | st.sampled_from(["", "nan", "None", "NA", *LONG, *LONG])
)
IDS = INTEGERS.map(lambda ids: np.array(ids, np.int64)) | WORDS.map(
    lambda ids: np.array(ids, STRINGS)
)
ROWS = st.lists(st.lists(st.integers(-5, 10_000), max_size=6), min_size=1, max_size=12)

patient = settings(max_examples=60)


@patient
@given(IDS, st.integers(1, 3))
def test_it_keeps_exactly_the_ids_seen_often_enough(ids, minimum):
    vocabulary = Vocabulary.fit(ids, minimum)

    frequent = [id_ for id_, count in Counter(ids.tolist()).items() if count >= minimum]
    assert vocabulary.ids.tolist() == sorted(frequent)
    assert vocabulary.ids.dtype == ids.dtype
    assert len(vocabulary) == len(frequent) + 1


@patient
@given(IDS, st.integers(1, 3))
def test_known_ids_decode_to_themselves_and_the_rest_is_out_of_vocabulary(ids, minimum):
    vocabulary = Vocabulary.fit(ids, minimum)

    codes = vocabulary.encode(ids)

    known_ids = vocabulary.ids.tolist()
    is_known = np.array([id_ in known_ids for id_ in ids.tolist()], bool)
    assert codes.dtype == np.int32
    assert (codes[~is_known] == OUT_OF_VOCABULARY).all()
    assert vocabulary.decode(codes[is_known]).tolist() == ids[is_known].tolist()


@patient
@given(IDS)
def test_codes_are_one_to_n_in_the_order_of_the_ids(ids):
    vocabulary = Vocabulary.fit(ids, 1)

    assert vocabulary.encode(vocabulary.ids).tolist() == [*range(1, len(vocabulary))]


@patient
@given(IDS, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(ids, random):
    shuffled = ids.tolist()
    random.shuffle(shuffled)

    again = Vocabulary.fit(np.array(shuffled, ids.dtype), 2)

    assert again.ids.tolist() == Vocabulary.fit(ids, 2).ids.tolist()


@patient
@given(WORDS, WORDS)
def test_words_of_another_array_are_recognised_by_their_text(fitted, words):
    vocabulary = Vocabulary.fit(np.array(fitted, STRINGS), 1)

    codes = vocabulary.encode(np.array(words, STRINGS)).tolist()

    order = sorted(set(fitted))
    assert codes == [order.index(word) + 1 if word in order else 0 for word in words]


@patient
@given(IDS)
def test_one_id_alone_gets_the_same_code(ids):
    vocabulary = Vocabulary.fit(ids, 2)

    alone = [int(vocabulary.encode(ids[i : i + 1])[0]) for i in range(len(ids))]

    assert alone == vocabulary.encode(ids).tolist()


@pytest.mark.parametrize("dtype", [np.int64, STRINGS])
def test_an_empty_vocabulary_knows_nothing(dtype):
    empty = Vocabulary.fit(np.empty(0, dtype), 1)

    assert len(empty) == 1
    assert empty.encode(np.array(["1", "2"], STRINGS).astype(dtype)).tolist() == [0, 0]
    assert empty.encode(np.empty(0, dtype)).tolist() == []


@patient
@given(IDS, st.integers(0, 20))
def test_counts_of_parts_add_up(ids, cut):
    total = Counter()
    for part in (ids[:cut], ids[cut:]):
        total.update(as_dict(count_distinct(part)))

    assert total == Counter(ids.tolist())


def as_dict(counts):
    return dict(zip(*(column.tolist() for column in counts), strict=True))


@given(ROWS, st.data())
def test_an_indexed_bag_selects_encodes_and_counts_as_rows_of_ids_do(rows, data):
    bag = Ragged.from_lists(rows, np.int64)
    selection = data.draw(st.permutations(range(len(rows))))[: data.draw(st.integers(1, 12))]
    vocabulary = Vocabulary.fit(bag.values, 2)

    indexed = IndexedBag.from_ragged(bag).select_rows(np.array(selection))

    plain = bag.select_rows(np.array(selection))
    assert_equal(indexed.decode(), plain)
    assert_equal(indexed.encode(vocabulary), plain.with_values(vocabulary.encode(plain.values)))
    assert as_dict(indexed.count()) == as_dict(count_distinct(plain.values))


def assert_equal(rows, expected):
    assert rows.values.tolist() == expected.values.tolist()
    assert rows.offsets.tolist() == expected.offsets.tolist()
