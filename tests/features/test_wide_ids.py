"""Wide features of two models are matched by what they stand for."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.features.wide_ids import ABSENT, match_wide_ids, wide_blocks

ITEMS = st.sets(st.integers(1, 6), min_size=2)
GENRES = st.sets(st.sampled_from(("SF", "드라마", "액션")), min_size=1)
BOUNDARIES = st.sets(st.sampled_from((1.0, 2.0, 3.0)))


def meanings_of_codes(transform, feature):
    """What each code of a feature stands for."""
    if feature in transform.normalisers:
        boundaries = transform.normalisers[feature].boundaries.tolist()
        return ["none", "missing", *pairwise([-np.inf, *boundaries, np.inf])]
    return ["rare", *transform.vocabulary_of(feature).ids.tolist()]


def meanings_of_wide_ids(transform):
    """(block, meaning of each part) of each wide id."""
    meanings = []
    for block in wide_blocks(transform):
        parts = [meanings_of_codes(transform, feature) for feature in block.features]
        meanings += [
            (block.name, *(part[code] for part, code in zip(parts, codes, strict=True)))
            for codes in zip(*block.codes, strict=True)
        ]
    return meanings


def expected_matches(old, new):
    wide_id = {meaning: i for i, meaning in enumerate(meanings_of_wide_ids(new))}
    return [wide_id.get(meaning, ABSENT) for meaning in meanings_of_wide_ids(old)]


@st.composite
def vocabularies(draw):
    items, genres, boundaries = draw(ITEMS), draw(GENRES), draw(BOUNDARIES)
    pairs = st.tuples(*[st.sampled_from(sorted(items))] * 2)
    triples = st.tuples(
        st.integers(0, len(boundaries)),
        st.sampled_from(sorted(genres)),
        st.sampled_from(("", "12세")),
    )
    return {
        "items": items,
        "genres": genres,
        "ends": sorted(boundaries),
        "liked": tuple(draw(st.sets(pairs))),
        "others": tuple(draw(st.sets(triples))),
    }


@settings(max_examples=60)
@given(vocabularies(), vocabularies())
def test_a_feature_is_found_again_exactly_where_the_other_model_has_its_ids(
    make_transform, old, new
):
    old, new = make_transform(**old), make_transform(**new)

    assert match_wide_ids(old, new).tolist() == expected_matches(old, new)


def test_a_model_matches_itself(make_transform):
    transform = make_transform()

    matches = match_wide_ids(transform, transform)

    assert np.array_equal(matches, np.arange(transform.wide_size))


@pytest.mark.parametrize("back", [False, True])
def test_models_of_other_features_share_what_they_share(make_transform, smaller_spec, back):
    old, new = make_transform(), make_transform(spec=smaller_spec)
    if back:
        old, new = new, old

    matches = match_wide_ids(old, new).tolist()

    assert matches == expected_matches(old, new)
    assert set(matches) > {ABSENT} if not back else ABSENT not in matches
