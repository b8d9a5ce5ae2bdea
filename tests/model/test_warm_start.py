"""Where a training starts, branch by branch; a warm start preserves the function."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.model.conftest import equal
from widedeep.data.split import Split
from widedeep.features.history import HistoryColumns
from widedeep.features.quantiles import QuantileNormaliser
from widedeep.features.raw_features import RawFeatures
from widedeep.features.transform import Transform
from widedeep.inputs import InputError, StartMode
from widedeep.model.ftrl import FtrlConfig, weight_from_state
from widedeep.model.network import logits
from widedeep.model.trainer import Trainer
from widedeep.model.warm_start import TrainingStart, warm_start
from widedeep.store import ModelVersion, StoredModel

SPLIT = Split(1000, 2000, 3000)
"""The champion learned until 2000, so it may just be used."""


@pytest.fixture(scope="module")
def model(world):
    return world.model(world.transform())


@pytest.fixture(scope="module")
def champion(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("champion")
    model.save(folder)
    return version("abc", folder)


def version(model_id, folder):
    """A version whose one model is in the folder."""
    stored = StoredModel(model_id, folder)
    return ModelVersion("7", stored, stored)


@pytest.fixture
def misfits(world, tmp_path, model):
    """By cause: a champion and a preset that do not allow a warm start."""
    replace(model, learned_until=2001).save(tmp_path / "seen")
    model.save(tmp_path / "fits")
    other_network = world.with_preset({"embedding": 5}).preset
    other_features = replace(world.preset, features=replace(world.spec, wide=("item",)))
    fits, seen = version("abc", tmp_path / "fits"), version("abc", tmp_path / "seen")
    return {
        "other network": (fits, other_network),
        "other features": (fits, other_features),
        "has seen the holdout": (seen, world.preset),
    }


CAUSES = {
    "other network": r"features or network differ from those of preset 'small'",
    "other features": r"features or network differ from those of preset 'small'",
    "has seen the holdout": (
        r"learned from interactions up to 1970-01-01T00:33:21Z, past this run's holdout-from "
        r"1970-01-01T00:33:20Z"
    ),
}


def test_a_requested_cold_start_is_cold_whatever_champion_there_is(champion, world):
    start = TrainingStart.choose(StartMode.COLD, champion, SPLIT, world.preset)
    assert start == TrainingStart("cold, as requested")
    assert not start.warm


@pytest.mark.parametrize("mode", [StartMode.AUTO, StartMode.WARM])
def test_a_champion_that_fits_and_has_not_seen_the_holdout_is_continued(mode, champion, world):
    start = TrainingStart.choose(mode, champion, SPLIT, world.preset)
    assert start == TrainingStart("warm, from version 7", champion)
    assert start.warm
    assert start.model_id == "abc"


def test_the_served_model_may_have_seen_the_holdout_if_the_gated_one_has_not(
    champion, world, model
):
    caught_up = replace(champion, served=StoredModel("def", champion.gated.path / "caught up"))
    replace(model, learned_until=2001).save(caught_up.served.path)
    start = TrainingStart.choose(StartMode.WARM, caught_up, SPLIT, world.preset)
    assert start.model_id == "abc"
    assert start.load_model().learned_until == model.learned_until


def test_settings_of_training_may_change_between_models(champion, world):
    changed = world.with_preset(training={"learning_rate": 0.5, "epochs": 1}).preset
    assert TrainingStart.choose(StartMode.AUTO, champion, SPLIT, changed).warm


def test_without_a_champion_auto_is_cold(world):
    start = TrainingStart.choose(StartMode.AUTO, None, SPLIT, world.preset)
    assert start == TrainingStart("cold, there is no champion yet")
    assert start.model_id is None
    assert start.load_model() is None


@pytest.mark.parametrize("cause", CAUSES)
def test_a_champion_that_cannot_be_continued_makes_auto_cold_and_refuses_warm(cause, misfits):
    champion, preset = misfits[cause]
    start = TrainingStart.choose(StartMode.AUTO, champion, SPLIT, preset)
    assert not start.warm
    assert re.fullmatch(f"cold, the champion.*{CAUSES[cause]}", start.reason)
    with pytest.raises(InputError, match=f"no warm start is possible.*{CAUSES[cause]}"):
        TrainingStart.choose(StartMode.WARM, champion, SPLIT, preset)


def test_a_requested_warm_start_without_a_champion_is_refused(world):
    with pytest.raises(InputError, match="no champion yet; use --mode cold or auto"):
        TrainingStart.choose(StartMode.WARM, None, SPLIT, world.preset)


def test_the_previous_model_is_loaded_from_its_folder(champion, world, model):
    start = TrainingStart.choose(StartMode.AUTO, champion, SPLIT, world.preset)
    rows = model.transform.encode(world.raw(4))
    assert np.array_equal(logits(start.load_model().network, rows), logits(model.network, rows))


patient = settings(max_examples=30)

UNKNOWN = None
USERS = st.sets(st.integers(1, 25), min_size=1).map(sorted)
ITEMS = st.sets(st.integers(98, 131), min_size=1).map(sorted)
SEEDS = st.integers(0, 2**32 - 1)
CHANGES = st.tuples(USERS, ITEMS, USERS, ITEMS, SEEDS)
"""Users and items of the old and of the new training rows."""


def wide_names(transform):
    """What each wide id stands for: (feature, id) or (cross, ids of its parts)."""
    names = []
    for feature in transform.spec.wide:
        names += [(feature, id_) for id_ in ids_of(transform, feature)]
    for cross, vocabulary in zip(transform.spec.crosses, transform.crosses, strict=True):
        ids = [ids_of(transform, part) for part in cross.parts]
        for codes in zip(*vocabulary.part_codes(), strict=True):
            parts = tuple(part[code] for part, code in zip(ids, codes, strict=True))
            names.append((cross.name, parts))
    return names


def ids_of(transform, name):
    """The id of each code of a feature; the codes of a bucket are their own ids."""
    if name in transform.normalisers:
        return list(range(transform.normalisers[name].quantiles + 2))
    return [UNKNOWN, *transform.vocabulary_of(name).ids.tolist()]


def named_rows(transform, rows):
    """For each row the names of all features it fires and of all ids it holds, in order."""
    wide, spec = wide_names(transform), transform.spec
    categories = [(c.name, ids_of(transform, c.name)) for c in spec.categories]
    bags = [
        (bag.name, ids_of(transform, bag.name), codes)
        for bag, codes in zip(spec.bags, rows.bags, strict=True)
    ]
    for i in range(len(rows)):
        names = [wide[j] for j in row(rows.wide, i)]
        names += [(name, ids[rows.categories[i, j]]) for j, (name, ids) in enumerate(categories)]
        yield names + [(name, ids[code]) for name, ids, bag in bags for code in row(bag, i)]


def row(bag, i):
    return bag.values[bag.offsets[i] : bag.offsets[i + 1]]


def preserved(old, new, raw):
    """Rows of which the new model has every feature that the old one knew, bool (n,)."""
    before, after = (named_rows(t, t.encode(raw)) for t in (old, new))
    known = [[name for name in names if name[1] is not UNKNOWN] for names in before]
    return np.array([set(b) <= set(a) for b, a in zip(known, after, strict=True)])


def transforms(world, change):
    users, items, new_users, new_items, seed = change
    old = world.transform(seed, rows=80, users=users, items=items)
    new = world.transform(seed + 1, old, rows=80, users=new_users, items=new_items)
    return old, new


def warm(world, previous, transform, training=None):
    network = world.network(transform, seed=77)
    training = training or world.preset.training
    optimisers, carried = warm_start(previous, network, transform, training)
    return network, optimisers, carried


def bits(array):
    return array.astype(np.float32).view(np.int32)


@patient
@given(change=CHANGES)
def test_rows_of_known_ids_keep_their_logit_to_the_bit(world, change):
    old, new = transforms(world, change)
    previous = world.model(old, change[-1])
    network, _, _ = warm(world, previous, new)
    raw = world.raw(change[-1] + 2, 150, range(1, 27), range(98, 132))
    rows = preserved(old, new, raw)
    before = bits(logits(previous.network, old.encode(raw)))
    after = bits(logits(network, new.encode(raw)))
    assert np.array_equal(before[rows], after[rows])


def test_rows_of_users_and_items_neither_model_knows_keep_their_logit_to_the_bit(world):
    old = world.transform(1, users=range(1, 9), items=range(100, 110))
    new = world.transform(2, old, users=range(4, 19), items=range(104, 119))
    raw = world.raw(3, users=range(30, 40), items=range(119, 130))
    assert preserved(old, new, raw).all()
    previous = world.model(old)
    network, _, _ = warm(world, previous, new)
    before = logits(previous.network, old.encode(raw))
    assert np.array_equal(bits(before), bits(logits(network, new.encode(raw))))


@patient
@given(seed=SEEDS)
def test_where_training_rows_are_only_added_every_row_keeps_its_logit_to_the_bit(world, seed):
    """New ids and crosses fall between the old ones, so all codes and wide ids move."""
    more = world.raw(seed, 400, range(1, 40))
    old = Transform.fit(world.spec, world.prior, first(more, 100))
    new = Transform.fit(world.spec, world.prior, more, old)
    assert set(wide_names(old)) < set(wide_names(new))
    previous = world.model(old, seed)
    network, _, carried = warm(world, previous, new)
    assert all(rows.dropped == 0 for rows in carried.values())
    before = bits(logits(previous.network, old.encode(more)))
    assert np.array_equal(before, bits(logits(network, new.encode(more))))


def first(raw, count):
    """The first `count` raw rows."""
    rows = np.arange(count)
    bags = (bag.select_rows(rows) for bag in (raw.history.liked, raw.history.disliked))
    history = HistoryColumns(raw.history.numeric[rows], *bags)
    queries = raw.queries.select_rows(rows)
    return RawFeatures(queries, history, raw.tables, raw.item_rows[rows], raw.user_rows[rows])


@patient
@given(change=CHANGES)
def test_weights_and_optimiser_state_travel_by_id(world, change):
    old, new = transforms(world, change)
    previous = world.model(old, change[-1])
    network, optimisers, _ = warm(world, previous, new)
    before = {**previous.network.state_dict(), **previous.optimiser_state}
    after = {**network.state_dict(), **optimisers.state()}
    carried = dict(zip(wide_names(new), wide_rows(after), strict=True))
    known = dict(zip(wide_names(old), wide_rows(before), strict=True))
    for name, values in carried.items():
        assert values == (known[name] if name in known else new_wide_row(name, known, values))
    for table in new.vocabularies:
        codes = {id_: code for code, id_ in enumerate(ids_of(old, table))}
        sources = [codes.get(id_) for id_ in ids_of(new, table)]
        assert_carried(f"embeddings.{table}", sources, before, after)


def wide_rows(values, name="wide"):
    """(weight, z, n) of each wide id."""
    columns = [values[key][:, 0].tolist() for key in (name, f"{name}/z", f"{name}/n")]
    return list(zip(*columns, strict=True))


def new_wide_row(name, known, values):
    """A new id starts as out-of-vocabulary, a new cross at 0; both without past gradients."""
    weight = 0.0 if isinstance(name[1], tuple) else known[name[0], UNKNOWN][0]
    z = values[1]
    assert z == pytest.approx(-weight / 0.1 - np.sign(weight) * 0.1, rel=1e-5)
    return weight, z, 0.0


def assert_carried(table, sources, before, after):
    """`sources`: the old row of each new one, None for a new id."""
    fresh = torch.full_like(after[table][0], 0.1)
    for i, source in enumerate(sources):
        assert torch.equal(after[table][i], before[table][source or 0])
        expected = fresh if source is None else before[f"{table}/sum"][source]
        assert torch.equal(after[f"{table}/sum"][i], expected)


@patient
@given(change=CHANGES)
def test_bias_and_layers_travel_with_their_optimiser_state(world, change):
    old, new = transforms(world, change)
    previous = world.model(old, change[-1])
    network, optimisers, _ = warm(world, previous, new)
    before = {**previous.network.state_dict(), **previous.optimiser_state}
    after = {**network.state_dict(), **optimisers.state()}
    assert before.keys() == after.keys()
    shared = [name for name in after if name.startswith(("bias", "layers"))]
    assert len(shared) == 2 * (1 + 2 * 3)
    assert all(torch.equal(after[name], before[name]) for name in shared)


@patient
@given(change=CHANGES)
def test_the_counts_of_carried_rows_add_up(world, change):
    old, new = transforms(world, change)
    previous = world.model(old, change[-1])
    network, _, carried = warm(world, previous, new)
    assert set(carried) == {"wide", *(f"embeddings.{name}" for name in new.vocabularies)}
    for name, rows in carried.items():
        assert rows.carried + rows.added == len(network.state_dict()[name])
        assert rows.carried + rows.dropped == len(previous.network.state_dict()[name])
        assert min(rows.carried, rows.added, rows.dropped) >= 0
    shared = set(wide_names(old)) & set(wide_names(new))
    assert carried["wide"].carried == len(shared)


def test_the_paper_sized_network_keeps_logits_to_the_bit(world):
    """Wide vectors and long sums, where another order of additions would show."""
    wider = world.with_preset({"embedding": 32, "hidden": (256, 128, 64)})
    old = wider.transform(1, rows=3000, items=range(103, 130, 2))
    new = wider.transform(2, old, rows=3000, items=range(100, 130))
    raw = wider.raw(3, 3000, items=range(100, 130))
    previous = wider.model(old)
    network, _, _ = warm(wider, previous, new)
    rows = preserved(old, new, raw)
    assert rows.mean() > 0.5
    before, after = logits(previous.network, old.encode(raw)), logits(network, new.encode(raw))
    assert np.array_equal(bits(before)[rows], bits(after)[rows])
    firing = [len(names) for names in named_rows(new, new.encode(raw))]
    assert np.mean(firing) > np.mean([len(n) for n in named_rows(old, old.encode(raw))])


def test_the_same_vocabulary_gives_the_same_model(world):
    transform = world.transform()
    previous = world.model(transform)
    network, optimisers, carried = warm(world, previous, transform)
    before = {**previous.network.state_dict(), **previous.optimiser_state}
    after = {**network.state_dict(), **optimisers.state()}
    assert equal(after, before)
    assert all(rows.added == rows.dropped == 0 for rows in carried.values())


def test_a_new_id_learns_at_full_rate_and_a_known_one_at_its_own(world):
    old = world.transform(1, users=range(1, 10))
    new = world.transform(2, old, users=range(1, 20))
    previous = world.model(old)
    for name, value in previous.optimiser_state.items():
        if name.endswith("/sum"):
            value.fill_(1e6)
    network, optimisers, _ = warm(world, previous, new)
    before = network.embeddings["user"].detach().clone()
    network.embeddings.weight.grad = torch.ones_like(network.embeddings.weight)
    optimisers.embeddings.step()
    moved = (network.embeddings["user"].detach() - before).abs().mean(1)
    known = torch.from_numpy(np.isin(new.vocabularies["user"].ids, range(1, 10)))
    assert moved[1:][known].max() < 0.01 * moved[1:][~known].min()


def test_training_on_leaves_the_previous_model_as_it_was(world):
    part = world.training_part(lambda raw: raw.queries.item % 3 == 0)
    previous = world.model(part.transform)
    weights, state = copy.deepcopy((previous.network.state_dict(), previous.optimiser_state))
    network, optimisers, _ = warm(world, previous, part.transform)
    trainer = Trainer(network, optimisers, world.preset.training, np.random.default_rng(0))
    list(trainer.catch_up(part.training, {}, last=0))
    assert not torch.equal(network.wide, weights["wide"])
    assert equal(previous.network.state_dict(), weights)
    assert equal(previous.optimiser_state, state)


def test_other_settings_of_ftrl_keep_the_weights_through_the_first_step(world):
    transform = world.transform()
    previous = world.model(transform)
    changed = replace(world.preset.training, ftrl=FtrlConfig(alpha=0.01, l1=5.0, l2=1.0))
    network, optimisers, _ = warm(world, previous, transform, changed)
    assert torch.equal(network.wide, previous.network.wide)
    state = optimisers.state()
    assert torch.equal(state["wide/n"], previous.optimiser_state["wide/n"])
    weight = weight_from_state(state["wide/z"], state["wide/n"], changed.ftrl)
    torch.testing.assert_close(weight, network.wide.detach(), rtol=1e-4, atol=1e-6)


def _other_prior(world, transform):
    return world, replace(transform, prior=0.7)


def _other_boundaries(world, transform):
    moved = QuantileNormaliser(transform.normalisers["item_mean"].boundaries + 1)
    return world, replace(transform, normalisers={**transform.normalisers, "item_mean": moved})


def _other_spec(world, transform):
    first, *others = transform.spec.crosses
    crosses = (replace(first, minimum_support=9), *others)
    return world, replace(transform, spec=replace(transform.spec, crosses=crosses))


def _fewer_features(world, transform):
    spec = replace(transform.spec, wide=transform.spec.wide[:-1])
    return world, replace(transform, spec=spec)


def _other_network(world, transform):
    return world.with_preset({"dropout": 0.3}), transform


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_other_prior, r"prior is 0.6, the new one's 0.7; start cold$"),
        (_other_boundaries, r"the quantile boundaries of item_mean"),
        (_other_spec, r"features.crosses\[0\].minimum_support is 1, the new one's 9; start"),
        (_fewer_features, r"features.wide\[4\] is 'user_count_bucket', the new one's None"),
        (_other_network, r"network.dropout is 0.2, the new one's 0.3"),
    ],
    ids=["prior", "boundaries", "spec", "features", "network"],
)
def test_a_model_that_cannot_be_carried_over_is_refused_by_name(world, change, message):
    transform = world.transform()
    previous = world.model(transform)
    changed, other = change(world, transform)
    with pytest.raises(InputError, match=f"^cannot warm-start: .*{message}"):
        warm(changed, previous, other)
