"""Bags in codes say what bags of tokens say."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from widedeep.features.coded_bag import CodedBag
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import Vocabulary, count_tokens

ROWS = st.lists(st.lists(st.integers(-5, 10_000), max_size=6), min_size=1, max_size=12)


def same(one, other):
    assert one.values.tolist() == other.values.tolist()
    assert one.offsets.tolist() == other.offsets.tolist()


@given(ROWS, st.data())
def test_they_take_encode_and_count_alike(rows, data):
    bag = Ragged.from_lists(rows, np.int64)
    taken = np.array(data.draw(st.permutations(range(len(rows)))))[: data.draw(st.integers(1, 12))]
    coded, wanted = CodedBag.of(bag).take(taken), bag.take(taken)
    same(coded.decoded(), wanted)
    vocabulary = Vocabulary.fit(bag.values, 2)
    same(coded.encode(vocabulary), wanted.replace(vocabulary.encode(wanted.values)))
    found, held = (
        dict(zip(*(column.tolist() for column in counts), strict=True))
        for counts in (coded.count(), count_tokens(wanted.values))
    )
    assert found == held
