"""Features of two models are matched by what they stand for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.wide_ids import ABSENT, match_wide_ids, wide_blocks

ITEMS = st.sets(st.integers(1, 6), min_size=2)
GENRES = st.sets(st.sampled_from(("SF", "드라마", "액션")), min_size=1)
ENDS = st.sets(st.sampled_from((1.0, 2.0, 3.0)))


def tokens(made, feature):
    """What each id stands for."""
    if feature in made.normalisers:
        cuts = [-np.inf, *made.normalisers[feature].boundaries.tolist(), np.inf]
        return ["none", "missing", *pairwise(cuts)]
    return ["rare", *made.vocabulary_of(feature).ids.tolist()]


def meanings(made):
    """(block, tokens of its parts) of each wide id."""
    found = []
    for block in wide_blocks(made):
        held = [tokens(made, feature) for feature in block.features]
        found += [
            (block.name, *(h[i] for h, i in zip(held, ids, strict=True)))
            for ids in zip(*block.codes, strict=True)
        ]
    return found


@st.composite
def vocabularies(draw):
    items, genres, ends = draw(ITEMS), draw(GENRES), draw(ENDS)
    pairs = st.tuples(*[st.sampled_from(sorted(items))] * 2)
    triples = st.tuples(
        st.integers(0, len(ends)), st.sampled_from(sorted(genres)), st.sampled_from(("", "12세"))
    )
    return {
        "items": items,
        "genres": genres,
        "ends": sorted(ends),
        "liked": tuple(draw(st.sets(pairs))),
        "others": tuple(draw(st.sets(triples))),
    }


@settings(max_examples=60)
@given(vocabularies(), vocabularies())
def test_a_feature_is_found_again_exactly_where_the_other_model_has_its_tokens(
    make_transform, old, new
):
    old, new = make_transform(**old), make_transform(**new)
    place = {meaning: i for i, meaning in enumerate(meanings(new))}
    wanted = [place.get(meaning, ABSENT) for meaning in meanings(old)]
    assert match_wide_ids(old, new).tolist() == wanted


def test_a_model_translates_to_itself(make_transform):
    made = make_transform()
    assert np.array_equal(match_wide_ids(made, made), np.arange(made.wide_size))


@pytest.mark.parametrize("back", [False, True])
def test_models_of_other_features_share_what_they_share(make_transform, smaller_spec, back):
    old, new = make_transform(), make_transform(spec=smaller_spec)
    if back:
        old, new = new, old
    place = {meaning: i for i, meaning in enumerate(meanings(new))}
    wanted = [place.get(meaning, ABSENT) for meaning in meanings(old)]
    assert match_wide_ids(old, new).tolist() == wanted
    assert set(wanted) > {ABSENT} if not back else ABSENT not in wanted
