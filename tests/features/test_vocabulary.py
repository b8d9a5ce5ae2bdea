"""Bags in codes say what bags of tokens say.

Tokens to ids: dense, by count, the same for numbers and Korean words.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import OUT_OF_VOCABULARY, IndexedBag, Vocabulary, count_distinct

ROWS = st.lists(st.lists(st.integers(-5, 10_000), max_size=6), min_size=1, max_size=12)


def same(one, other):
    assert one.values.tolist() == other.values.tolist()
    assert one.offsets.tolist() == other.offsets.tolist()


@given(ROWS, st.data())
def test_they_take_encode_and_count_alike(rows, data):
    bag = Ragged.from_lists(rows, np.int64)
    taken = np.array(data.draw(st.permutations(range(len(rows)))))[: data.draw(st.integers(1, 12))]
    coded, wanted = IndexedBag.from_ragged(bag).take(taken), bag.take(taken)
    same(coded.decode(), wanted)
    vocabulary = Vocabulary.fit(bag.values, 2)
    same(coded.encode(vocabulary), wanted.replace(vocabulary.encode(wanted.values)))
    found, held = (
        dict(zip(*(column.tolist() for column in counts), strict=True))
        for counts in (coded.count(), count_distinct(wanted.values))
    )
    assert found == held


patient = settings(max_examples=60)
STRINGS = np.dtypes.StringDType()
integers = st.lists(st.sampled_from([-(2**62), -1, 0, 3, 7, 2**40]) | st.integers(0, 9))
LONG = ["독일(구 서독)", "유고슬라비아", "청소년 관람불가", "벨라루스(구 소련)"]  # over 15 bytes
words = st.lists(
    st.text("가각힣ㄱa \0", max_size=8) | st.sampled_from(["", "nan", "None", "NA", *LONG, *LONG])
)
tokens = integers.map(lambda t: np.array(t, np.int64)) | words.map(lambda t: np.array(t, STRINGS))


@patient
@given(tokens, st.integers(1, 3))
def test_it_keeps_exactly_the_tokens_seen_often_enough(seen, minimum):
    vocabulary = Vocabulary.fit(seen, minimum)

    kept = [token for token, count in Counter(seen.tolist()).items() if count >= minimum]
    assert vocabulary.tokens.tolist() == sorted(kept)
    assert vocabulary.tokens.dtype == seen.dtype
    assert len(vocabulary) == len(kept) + 1


@patient
@given(tokens, st.integers(1, 3))
def test_known_tokens_decode_to_themselves_and_the_rest_is_out_of_vocabulary(seen, minimum):
    vocabulary = Vocabulary.fit(seen, minimum)

    ids = vocabulary.encode(seen)

    known = np.array([token in vocabulary.tokens.tolist() for token in seen.tolist()], bool)
    assert ids.dtype == np.int32
    assert (ids[~known] == OUT_OF_VOCABULARY).all()
    assert vocabulary.decode(ids[known]).tolist() == seen[known].tolist()


@patient
@given(tokens)
def test_ids_are_one_to_n_in_the_order_of_the_tokens(seen):
    vocabulary = Vocabulary.fit(seen, 1)

    assert vocabulary.encode(vocabulary.tokens).tolist() == [*range(1, len(vocabulary))]


@patient
@given(tokens, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_has_no_say(seen, random):
    shuffled = seen.tolist()
    random.shuffle(shuffled)

    again = Vocabulary.fit(np.array(shuffled, seen.dtype), 2)

    assert again.tokens.tolist() == Vocabulary.fit(seen, 2).tokens.tolist()


@patient
@given(words, words)
def test_words_of_another_array_are_known_by_what_they_say(fitted, asked):
    vocabulary = Vocabulary.fit(np.array(fitted, STRINGS), 1)

    found = vocabulary.encode(np.array(asked, STRINGS)).tolist()

    order = sorted(set(fitted))
    assert found == [order.index(word) + 1 if word in order else 0 for word in asked]


@patient
@given(tokens)
def test_one_token_alone_gets_the_same_id(seen):
    vocabulary = Vocabulary.fit(seen, 2)

    alone = [int(vocabulary.encode(seen[i : i + 1])[0]) for i in range(len(seen))]

    assert alone == vocabulary.encode(seen).tolist()


@patient
@given(tokens, st.integers(0, 20))
def test_counts_of_parts_add_up(seen, cut):
    parts = [seen[:cut], seen[cut:]]

    total = Counter()
    for part in parts:
        unique, counts = count_distinct(part)
        total.update(dict(zip(unique.tolist(), counts.tolist(), strict=True)))

    assert total == Counter(seen.tolist())


@pytest.mark.parametrize("dtype", [np.int64, STRINGS])
def test_an_empty_vocabulary_knows_nothing(dtype):
    empty = Vocabulary.fit(np.empty(0, dtype), 1)

    assert len(empty) == 1
    assert empty.encode(np.array(["1", "2"], STRINGS).astype(dtype)).tolist() == [0, 0]
    assert empty.encode(np.empty(0, dtype)).tolist() == []
