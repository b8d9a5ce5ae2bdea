"""Context and users' features: learned by their values, given at request time, missing if not.

A click log of the simulator, with text ids, age and country of users, device and hour.
"""

from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widedeep.data.dataset import Feature, FeatureType
from widedeep.data.dataset_file import load_spec
from widedeep.data.ids import UNKNOWN_KEY, id_key
from widedeep.data.ingest import ingest
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import EXAMPLE, simulate
from widedeep.data.split import Split
from widedeep.data.tables import Categories, IngestedData
from widedeep.evaluation.scoring import model_scorer
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.features.raw_features import WEEKDAYS, RawFeatures, calendar_category
from widedeep.features.request import RequestFeatures, given_context, with_given_user
from widedeep.features.training_data import TrainingData, cold_parts, save_parts, warm_parts
from widedeep.features.vocabulary import OUT_OF_VOCABULARY
from widedeep.inputs import InputError, Precision
from widedeep.metrics import auc
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import get_preset
from widedeep.out_of_core.on_disk import OnDiskEngine
from widedeep.serving.ranker import Ranker
from widedeep.store import ArtifactStore

NOW = 1_700_000_000


@pytest.fixture(scope="module")
def clicks_data(clicks, tmp_path_factory):
    store = ArtifactStore(tmp_path_factory.mktemp("store"))
    return IngestedData(ingest(clicks, load_spec(clicks), store, NOW))


@pytest.fixture(scope="module")
def world(clicks_data):
    interactions = clicks_data.interactions()
    tables = FeatureTables.from_side_tables(clicks_data.side_tables())
    return interactions, tables, Split.from_times(interactions.time, clicks_data.last_time + 1)


@pytest.fixture(scope="module")
def preset(clicks):
    preset = get_preset("default", load_spec(clicks))
    return replace(preset, training=replace(preset.training, epochs=3))


@pytest.fixture(scope="module")
def training_data(world, preset):
    return TrainingData.from_parts(cold_parts(*world, preset.features, preset.sampling))


@pytest.fixture(scope="module")
def model(training_data, preset):
    run = TrainingRun(training_data, preset, None, seed=0)
    for _ in run.epochs():
        pass
    return run.trained_model()


def query(user, item, at, context):
    keys, when = np.array([[user], [item]]), np.array([at])
    return Queries(*keys, when, when, context)


def codes_of(transform, raw, name):
    """The codes of a category in encoded rows."""
    position = [category.name for category in transform.spec.categories].index(name)
    return transform.encode(raw).categories[:, position]


def test_values_are_encoded_by_the_vocabulary_of_the_training_rows(world, model):
    interactions, tables, split = world
    transform = model.transform
    rows = interactions.select_rows(slice(-50, None))
    queries = Queries(rows.user, rows.item, rows.time, rows.time, rows.context)
    raw = transform.compute_features(interactions, queries, tables)
    codes = codes_of(transform, raw, "device")
    devices = transform.vocabulary_of("device").decode(codes).tolist()
    column = rows.context["device"]
    assert devices == column.ids[column.codes].tolist()
    ages = raw.number("age")
    known = dict(zip(tables.users.ids.tolist(), tables.users.numbers["age"].tolist(), strict=False))
    np.testing.assert_array_equal(ages, [known[user] for user in rows.user.tolist()])
    del split


def test_an_unknown_value_is_out_of_vocabulary_and_an_absent_one_is_missing(world, model):
    interactions, tables, split = world
    codes = {}
    for name, context in {
        "unknown": {"device": Categories.repeated("toaster", 1)},
        "missing": {"device": Categories.repeated("", 1)},
        "absent": {},
    }.items():
        asked = query(UNKNOWN_KEY, UNKNOWN_KEY, split.as_of, context)
        raw = model.transform.compute_features(interactions, asked, tables)
        codes[name] = int(codes_of(model.transform, raw, "device")[0])
    assert codes["unknown"] == OUT_OF_VOCABULARY
    assert codes["missing"] == codes["absent"] != OUT_OF_VOCABULARY


@pytest.mark.parametrize("user", ["u1", "newcomer"])
def test_a_ranker_scores_a_request_as_the_model_does(world, model, user):
    interactions, tables, _ = world
    ranker = Ranker.from_interactions(model, interactions, tables, Precision.FLOAT32)
    key, at = id_key(user), ranker.known_until
    items = np.append(tables.items.ids, UNKNOWN_KEY)
    for context, of_user in [
        ({}, {}),
        ({"device": "device-2"}, {}),
        ({"device": "toaster"}, {"age": 33, "country": "country-3"}),
        ({"device": None}, {"age": None, "country": "한국"}),
    ]:
        given = RequestFeatures(context, of_user)
        scores = ranker.scores(key, items, at, given)
        rows = np.full(len(items), key)
        when = np.full(len(items), at)
        asked = Queries(rows, items, when, when, given_context(given, tables, len(items)))
        as_known = with_given_user(tables, key, given)
        expected = model_scorer(model, interactions, as_known)(asked)
        np.testing.assert_allclose(scores, expected, rtol=0, atol=2e-6)


def test_what_no_feature_is_called_is_refused(world):
    _, tables, _ = world
    with pytest.raises(InputError, match="'devise' is no feature of the context; did you mean"):
        RequestFeatures({"devise": "x"}).check(tables)
    with pytest.raises(InputError, match="'ag' is no feature of a user; did you mean 'age'"):
        RequestFeatures(user={"ag": 3}).check(tables)
    for value in ("noon", [3], "nan", ""):
        with pytest.raises(InputError, match=r"age is .*; expected a number"):
            RequestFeatures(user={"age": value}).check(tables)
    RequestFeatures(user={"age": "33.5"}).check(tables)
    with pytest.raises(InputError, match="expected NAME=VALUE"):
        RequestFeatures.from_texts(["device"], tables)


def test_a_new_user_with_features_gets_a_better_list_than_one_without(tmp_path):
    """The planted truth: age and country decide, together with topic and tags, what is clicked.

    The first clicks of new users are predicted once with and once without their features.
    """
    config = SimulationConfig(2500, 60, 12_000, positive_share=0.4, feature_spread=2.5)
    simulate(config, tmp_path / "clicks", EXAMPLE.read_text(encoding="utf-8"))
    spec = load_spec(tmp_path / "clicks")
    data = IngestedData(ingest(tmp_path / "clicks", spec, ArtifactStore(tmp_path / "s"), NOW))
    interactions, preset = data.interactions(), get_preset("default", spec)
    tables = FeatureTables.from_side_tables(data.side_tables())
    split = Split.from_times(interactions.time, data.last_time + 1)
    parts = cold_parts(interactions, tables, split, preset.features, preset.sampling)
    run = TrainingRun(TrainingData.from_parts(parts), preset, None, seed=0)
    for _ in run.epochs():
        pass
    model = run.trained_model()
    first = np.unique(interactions.user, return_index=True)[1]
    rows = interactions.select_rows(np.sort(first[split.holdout(interactions.time[first])]))
    queries = Queries(rows.user, rows.item, rows.time, rows.time, rows.context)
    users = replace(tables.users, ids=-2 - np.arange(len(tables.users.ids))[::-1])
    nobody_known = FeatureTables(tables.items, users, tables.context)
    with_features, without = (
        auc(rows.label, model_scorer(model, interactions, known)(queries))
        for known in (tables, nobody_known)
    )
    assert len(rows) > 150
    assert with_features > without + 0.02


@given(
    seconds=st.integers(-(10**9), 4 * 10**9),
    zone=st.sampled_from(["UTC", "Asia/Seoul", "America/New_York", "Asia/Kathmandu"]),
)
def test_hour_weekday_and_month_are_those_of_the_place(seconds, zone):
    local = datetime.fromtimestamp(seconds, UTC).astimezone(ZoneInfo(zone))
    expected = {
        FeatureType.HOUR: str(local.hour),
        FeatureType.WEEKDAY: WEEKDAYS[local.weekday()],
        FeatureType.MONTH: str(local.month),
    }
    for kind, name in expected.items():
        feature = Feature("when", "time", kind, time_zone=zone)
        column = calendar_category(feature, np.array([seconds]))
        assert column.ids[column.codes].tolist() == [name]


def test_features_on_disk_are_those_in_memory(world, preset, training_data, tmp_path):
    (tmp_path / "scratch").mkdir()

    def engine(*arguments):
        return OnDiskEngine(*arguments, folder=tmp_path / "scratch", block=701)

    def make(name, **options):
        parts = cold_parts(*world, preset.features, preset.sampling, **options)
        save_parts(parts, tmp_path / name)
        folder = tmp_path / name
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }

    assert make("disk", make_engine=engine) == make("memory")
    del training_data


def test_raw_rows_survive_the_disk_with_their_context(world, model):
    interactions, tables, _ = world
    rows = interactions.select_rows(slice(-20, None))
    queries = Queries(rows.user, rows.item, rows.time, rows.time, rows.context)
    raw = model.transform.compute_features(interactions, queries, tables)
    again = RawFeatures.from_table(raw.to_table(), tables)
    for name in ("device", "hour", "country"):
        (ids, codes), (ids_again, codes_again) = raw.category(name), again.category(name)
        assert ids[codes].tolist() == ids_again[codes_again].tolist()


def test_a_warm_start_keeps_what_a_value_had_and_adds_new_ones(world, preset, training_data):
    interactions, tables, split = world
    previous = training_data.catch_up.transform
    grown = dict(interactions.context)
    column = grown["device"]
    late = interactions.time >= split.holdout_from
    ids = np.append(column.ids, np.array(["watch"], np.dtypes.StringDType()))
    codes = np.where(late & (np.arange(len(late)) % 2 == 0), len(column.ids), column.codes)
    grown["device"] = Categories(codes.astype(np.int32), ids)
    changed = replace(interactions, context=grown)
    parts = TrainingData.from_parts(
        warm_parts(changed, tables, split.as_of, preset.sampling, previous, split.holdout_from)
    )
    before = previous.vocabulary_of("device").ids.tolist()
    after = parts.catch_up.transform.vocabulary_of("device").ids.tolist()
    assert after[: len(before)] == before
    assert after[len(before) :] == ["watch"]


def test_a_snapshot_keeps_ids_context_and_the_meaning(clicks_data, tmp_path):
    snapshot = DataSnapshot.from_tables(clicks_data.interactions(), clicks_data.side_tables())
    snapshot.save(tmp_path)
    loaded = DataSnapshot.load(tmp_path)
    assert loaded.side.spec == snapshot.side.spec
    assert loaded.side.user_ids.text(id_key("u1")) == "u1"
    first, second = (s.interactions.context["device"] for s in (snapshot, loaded))
    assert first.ids[first.codes].tolist() == second.ids[second.codes].tolist()
