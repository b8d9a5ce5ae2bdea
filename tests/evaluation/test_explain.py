"""The parts of an explanation are what the network added up."""

from dataclasses import replace
from math import fsum

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from widedeep.data.ingest import ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.explain import Explainer
from widedeep.evaluation.naming import DisplayNames
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.sampling import Sampling, Staleness
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.batch import Batch
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.presets import preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import Optimisers, logits
from widedeep.store import ArtifactStore

NOBODY = -1


@pytest.fixture(scope="module")
def ratings(simulated, tmp_path_factory):
    store = ArtifactStore(tmp_path_factory.mktemp("stages"))
    return IngestedData(ingest(simulated, store, 1_700_000_000))


@pytest.fixture(scope="module")
def explainer(ratings):
    """A model that was not trained, but has a random weight for two of three wide features."""
    interactions, item_table = ratings.load(), ItemTable.from_table(ratings.items())
    split = Split.of(interactions.time, ratings.last_time + 1)
    chosen, fresh = preset("default"), Sampling(staleness=Staleness(copies=0))
    rows = TrainingData.of(
        cold_parts(interactions, item_table, split, chosen.features, fresh)
    ).catch_up
    generator = torch.Generator().manual_seed(1)
    network = WideDeep(chosen.network, InputShape.of(rows.transform), generator)
    with torch.no_grad():
        network.bias.normal_(generator=generator)
        network.wide.normal_(0, 0.3, generator=generator)
        network.wide[::3] = 0
        network.layers[-1].weight.normal_(0, 0.3, generator=generator)
    state = Optimisers(network, chosen.training).state()
    until = split.holdout_from
    model = TrainedModel(rows.transform, network, chosen.training, state, until, rows.evidence)
    names = DisplayNames.of(ratings.items(), ratings.people())
    return Explainer(model, interactions, item_table, names)


def encode(explainer, asked):
    transform = explainer.model.transform
    raw = RawFeatures.describe(
        explainer.interactions, asked, explainer.item_table, transform.spec.history, transform.prior
    )
    return transform.encode(raw)


@st.composite
def queries(draw):
    """Users and items known and unknown, asked before, within and after the log's time."""
    rows = draw(st.lists(st.tuples(*[st.integers(0, 2**40)] * 4), min_size=1, max_size=12))
    picks = np.array(rows)

    def ask(explainer):
        interactions = explainer.interactions
        user = np.append(np.unique(interactions.user), NOBODY)
        item = np.append(explainer.item_table.items, NOBODY)
        first, span = interactions.time[0] - 10, interactions.time[-1] - interactions.time[0] + 20
        time = first + picks[:, 2] % span
        asked = (user[picks[:, 0] % len(user)], item[picks[:, 1] % len(item)])
        return Queries(*asked, time, time - picks[:, 3] % 50_000_000)

    return ask


@settings(max_examples=40)
@given(queries())
def test_contributions_add_up_to_the_logit_exactly(explainer, queries):
    asked = queries(explainer)
    encoded = encode(explainer, asked)
    wanted = logits(explainer.model.network, encoded)
    batch = Batch.from_encoded(encoded, torch.device("cpu"))
    with torch.no_grad():
        deep = explainer.model.network.deep_logit(batch).tolist()
    for row, found in enumerate(explainer.explain(asked)):
        assert fsum(found.contributions) == found.logit == wanted[row]
        assert found.deep == pytest.approx(deep[row], abs=1e-5)
        assert len(found.wide) == encoded.wide.lengths[row]


@settings(max_examples=10)
@given(queries())
def test_an_explanation_is_of_the_query_and_its_probability_is_the_models(explainer, queries):
    asked = queries(explainer)
    scores = model_scorer(explainer.model, explainer.interactions, explainer.item_table)(asked)
    for row, found in enumerate(explainer.explain(asked)):
        assert (found.user, found.item) == (asked.user[row], asked.item[row])
        assert (found.time, found.known_until) == (asked.time[row], asked.known_until[row])
        assert found.probability == scores[row]


def test_the_heaviest_feature_stands_first_and_carries_its_own_weight(explainer):
    asked = Queries(
        *(getattr(explainer.interactions, n)[-5:] for n in ("user", "item", "time", "time"))
    )
    encoded = encode(explainer, asked)
    for row, found in enumerate(explainer.explain(asked)):
        weights = [fired.weight for fired in found.wide]
        assert weights == sorted(weights, key=abs, reverse=True)
        ids = encoded.wide.take(np.array([row])).values
        assert sorted(weights) == sorted(explainer.model.wide_weights[ids].tolist())


def test_a_liked_item_is_told_with_its_candidate(explainer):
    """Whoever likes a item, and is asked of another, fires the pair if it was seen often."""
    interactions = explainer.interactions
    asked = Queries(
        *(getattr(interactions, name)[-200:] for name in ("user", "item", "time", "time"))
    )
    pairs = 0
    for found in explainer.explain(asked):
        candidate = explainer.names.item(found.item, "korean")
        for fired in found.wide:
            if fired.block == "liked x item":
                pairs += 1
                assert fired.korean.startswith("liked ")
                assert fired.korean.endswith(f" → {candidate}")
    assert pairs > 100


def test_nobody_and_nothing_are_explained_too(explainer):
    moment = np.array([explainer.known_until])
    nobody = np.array([NOBODY])
    (found,) = explainer.explain(Queries(nobody, nobody, moment, moment))
    told = {fired.korean for fired in found.wide}
    assert {"movie (rare)", "grade missing"} <= told
    assert 0 < found.probability < 1


def test_a_weight_too_small_for_the_sum_costs_no_more_than_float32_can_tell(explainer):
    moment = np.array([explainer.known_until])
    nobody = np.array([NOBODY])
    asked = Queries(nobody, nobody, moment, moment)
    (before,) = explainer.explain(asked)
    tiny = replace(before, wide=tuple(replace(f, weight=f.weight * 1e-12) for f in before.wide))
    assert np.float32(fsum(tiny.contributions)) == np.float32(before.logit)


def test_no_queries_have_no_explanations(explainer):
    nothing = np.empty(0, np.int64)
    assert explainer.explain(Queries(nothing, nothing, nothing, nothing)) == []


def test_json_has_all_parts(explainer):
    asked = Queries(
        *(getattr(explainer.interactions, n)[-1:] for n in ("user", "item", "time", "time"))
    )
    (found,) = explainer.explain(asked)
    values = found.as_json()
    parts = [values[name] for name in ("bias", "offset", "deep")]
    parts += (one["weight"] for one in values["wide"])
    assert fsum(parts) == values["logit"]
