"""The parts of an explanation are what the network added up."""

from dataclasses import replace
from math import fsum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worlds import KMRD
from widedeep.evaluation.explain import Explainer
from widedeep.evaluation.naming import DisplayNames, Language
from widedeep.evaluation.scoring import model_scorer
from widedeep.evaluation.snapshot import UNKNOWN_ID
from widedeep.features.history import Queries
from widedeep.features.sampling import Sampling, Staleness
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.batch import Batch
from widedeep.model.network import InputShape, WideDeep, logits
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers


@pytest.fixture(scope="module")
def explainer(ratings, world):
    """Return an untrained model with a random weight for two of three wide features."""
    interactions, tables, split = world
    preset, fresh = get_preset("default", KMRD), Sampling(staleness=Staleness(copies=0))
    rows = TrainingData.from_parts(
        cold_parts(interactions, tables, split, preset.features, fresh)
    ).catch_up
    generator = torch.Generator().manual_seed(1)
    network = WideDeep(preset.network, InputShape.from_transform(rows.transform), generator)
    with torch.no_grad():
        network.bias.normal_(generator=generator)
        network.wide.normal_(0, 0.3, generator=generator)
        network.wide[::3] = 0
        network.layers[-1].weight.normal_(0, 0.3, generator=generator)
    state = Optimisers(network, preset.training).state()
    until = split.holdout_from
    model = TrainedModel(rows.transform, network, preset.training, state, until, rows.support)
    names = DisplayNames.from_tables(ratings.side_tables())
    return Explainer(model, interactions, tables, names, KMRD)


def encode(explainer, queries):
    transform = explainer.model.transform
    rows = transform.compute_features(explainer.interactions, queries, explainer.tables)
    return transform.encode(rows)


def last_queries(explainer, count):
    """The last ratings as queries at their own time."""
    last = explainer.interactions.select_rows(slice(-count, None))
    return Queries(last.user, last.item, last.time, last.time)


def unknown_query(explainer):
    """A query of an unknown user for an unknown item."""
    unknown, moment = np.array([UNKNOWN_ID]), np.array([explainer.known_until])
    return Queries(unknown, unknown, moment, moment)


@st.composite
def query_makers(draw):
    """Draw known and unknown users and items, at times before, within and after the ratings."""
    rows = draw(st.lists(st.tuples(*[st.integers(0, 2**40)] * 4), min_size=1, max_size=12))
    picks = np.array(rows)

    def make(explainer):
        interactions = explainer.interactions
        users = np.append(np.unique(interactions.user), UNKNOWN_ID)
        items = np.append(explainer.tables.items.ids, UNKNOWN_ID)
        first, span = interactions.time[0] - 10, interactions.time[-1] - interactions.time[0] + 20
        time = first + picks[:, 2] % span
        pairs = (users[picks[:, 0] % len(users)], items[picks[:, 1] % len(items)])
        return Queries(*pairs, time, time - picks[:, 3] % 50_000_000)

    return make


@settings(max_examples=40)
@given(query_makers())
def test_contributions_add_up_to_the_logit_exactly(explainer, make_queries):
    queries = make_queries(explainer)
    encoded = encode(explainer, queries)
    expected = logits(explainer.model.network, encoded)
    batch = Batch.from_encoded(encoded, torch.device("cpu"))
    with torch.no_grad():
        deep = explainer.model.network.deep_logit(batch).tolist()
    for row, explanation in enumerate(explainer.explain(queries)):
        assert fsum(explanation.contributions) == explanation.logit == expected[row]
        assert explanation.deep == pytest.approx(deep[row], abs=1e-5)
        assert len(explanation.wide) == encoded.wide.lengths[row]


@settings(max_examples=10)
@given(query_makers())
def test_an_explanation_is_of_the_query_and_its_probability_is_the_models(explainer, make_queries):
    queries = make_queries(explainer)
    scores = model_scorer(explainer.model, explainer.interactions, explainer.tables)(queries)
    for row, explanation in enumerate(explainer.explain(queries)):
        assert (explanation.user, explanation.item) == (queries.user[row], queries.item[row])
        assert explanation.time == queries.time[row]
        assert explanation.known_until == queries.known_until[row]
        assert explanation.probability == scores[row]


def test_the_heaviest_feature_stands_first_and_carries_its_own_weight(explainer):
    queries = last_queries(explainer, 5)
    encoded = encode(explainer, queries)
    for row, explanation in enumerate(explainer.explain(queries)):
        weights = [fired.weight for fired in explanation.wide]
        assert weights == sorted(weights, key=abs, reverse=True)
        wide_ids = encoded.wide.select_rows(np.array([row])).values
        assert sorted(weights) == sorted(explainer.model.wide_weights[wide_ids].tolist())


def test_a_liked_item_is_named_with_its_candidate(explainer):
    """A user who liked an item fires its pair with the candidate, if the pair was seen often."""
    pairs = 0
    for explanation in explainer.explain(last_queries(explainer, 200)):
        candidate = explainer.names.item(explanation.item, Language.KOREAN)
        for fired in explanation.wide:
            if fired.block == "liked x item":
                pairs += 1
                assert fired.korean.startswith("liked ")
                assert fired.korean.endswith(f" → {candidate}")
    assert pairs > 100


def test_an_unknown_user_and_item_are_explained_too(explainer):
    (explanation,) = explainer.explain(unknown_query(explainer))
    assert {"item (rare)", "grade missing"} <= {fired.korean for fired in explanation.wide}
    assert 0 < explanation.probability < 1


def test_a_weight_too_small_for_the_sum_costs_no_more_than_the_precision_of_float32(explainer):
    (explanation,) = explainer.explain(unknown_query(explainer))
    tiny = tuple(replace(fired, weight=fired.weight * 1e-12) for fired in explanation.wide)
    contributions = replace(explanation, wide=tiny).contributions
    assert np.float32(fsum(contributions)) == np.float32(explanation.logit)


def test_no_queries_have_no_explanations(explainer):
    nothing = np.empty(0, np.int64)
    assert explainer.explain(Queries(nothing, nothing, nothing, nothing)) == []


def test_json_has_all_parts(explainer):
    (explanation,) = explainer.explain(last_queries(explainer, 1))
    values = explanation.as_json()
    assert values.keys() == {
        *("user", "item", "time", "known_until", "bias", "offset", "wide", "logit"),
        *("probability", "deep"),
    }
    assert all(set(fired) == {"block", "korean", "english", "weight"} for fired in values["wide"])
    parts = [values[name] for name in ("bias", "offset", "deep")]
    parts += (fired["weight"] for fired in values["wide"])
    assert fsum(parts) == values["logit"]
