"""The ranker: the model's own scores for whatever a spec can say, and promises on its lists."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from numba.core.registry import CPUDispatcher

from widedeep.choices import Precision
from widedeep.data.ingest import ingest
from widedeep.data.tables import ITEM_COLUMNS, IngestedData, Interactions
from widedeep.evaluation.scoring import model_scorer
from widedeep.features import history_state
from widedeep.features.encoded import FeatureSupport
from widedeep.features.history import HistoryConfig, Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model import kernels as model_kernels
from widedeep.model.compute import matmul_dtype
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig, sigmoid
from widedeep.serving import kernels
from widedeep.serving.live_state import LiveState
from widedeep.serving.ranker import Ranked, Ranker
from widedeep.serving.scorer import FastScorer
from widedeep.store import ArtifactStore

PRIOR = 0.6
SMALL = NetworkConfig(embedding=4, hidden=(16, 8))
ALL = FeatureSpec(
    categories=(Category("grade", 1), Category("user", 2), Category("item", 3)),
    bags=(
        Bag("genres", 2),
        Bag("people", 1),
        Bag("liked", 3),
        Bag("leading", 1),
        Bag("disliked", vocabulary_of="item"),
        Bag("countries", 1),
    ),
    numbers=(
        Number("item_age", 4),
        Number("staleness", 5),
        Number("expected_logit", 30),
        Number("item_recency", 7),
        Number("user_last", 9),
    ),
    buckets=(Bucket("item_age", 3), Bucket("user_fast", 8), Bucket("taste", 5)),
    crosses=(
        Cross(("liked", "item"), 1),
        Cross(("genres", "liked", "taste_bucket"), 1),
        Cross(("user", "genres"), 1),
        Cross(("liked", "disliked"), 1),
        Cross(("genres", "leading"), 1),
        Cross(("grade", "item_age_bucket", "user_fast_bucket", "user"), 1),
        Cross(("item_age_bucket", "taste_bucket"), 1),
    ),
    wide=("user", "item", "genres", "liked", "disliked", "taste_bucket", "item_age_bucket"),
    offset="item_mean",
    history=HistoryConfig(positive_rating=7, length=6),
)
BARE = replace(ALL, categories=(), bags=(), crosses=(), wide=("taste_bucket",), offset=None)
NO_NUMBERS = replace(
    ALL, numbers=(), buckets=(), crosses=(Cross(("user", "item"), 1),), wide=("item",)
)
EMBEDDED = NetworkConfig(embedding=3, hidden=(12,), number_embedding=5)
CASES = {
    "default": (preset("default").features, preset("default").network),
    "paper": (
        preset("paper").features,
        replace(preset("paper").network, hidden=(64, 32, 16)),
    ),
    "everything": (ALL, EMBEDDED),
    "everything, wide only": (ALL, replace(SMALL, deep=False)),
    "everything, deep only": (ALL, replace(EMBEDDED, wide=False)),
    "numbers alone": (BARE, replace(SMALL, number_embedding=2)),
    "no number": (NO_NUMBERS, EMBEDDED),
}


@dataclass(frozen=True)
class World:
    interactions: Interactions
    item_table: ItemTable
    bare: ItemTable

    def before(self, rows):
        return Interactions(
            *(getattr(self.interactions, name)[:rows] for name in Interactions.__slots__)
        )

    def model(self, spec, config, seed=0):
        """Fitted features, random weights; a third of the wide ones is 0."""
        time = self.interactions.time[:4000]
        asked = Queries(self.interactions.user[:4000], self.interactions.item[:4000], time, time)
        rows = RawFeatures.describe(self.interactions, asked, self.item_table, spec.history, PRIOR)
        transform = Transform.fit(spec, PRIOR, rows)
        generator = torch.Generator().manual_seed(seed)
        network = WideDeep(config, InputShape.of(transform), generator)
        with torch.no_grad():
            for parameter in (*network.embeddings.parameters(), network.bias, network.wide):
                parameter.normal_(0, 0.3, generator=generator)
            network.wide *= torch.rand(network.wide.shape, generator=generator) > 1 / 3
            for layer in network.layers:
                layer.bias.normal_(0, 0.1, generator=generator)
            if network.layers:
                network.layers[-1].weight.normal_(0, 0.3, generator=generator)
            if network.numbers:
                network.numbers.missing.normal_(0, 1, generator=generator)
            network.slope.fill_(0.7)
        none = np.zeros(transform.wide_size, np.int64)
        return TrainedModel(
            transform, network, TrainingConfig(), {}, 0, FeatureSupport(none, none, 0, 0)
        )


@pytest.fixture(scope="module")
def world(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("serving")
    ratings = IngestedData(ingest(simulated, ArtifactStore(folder), 1_800_000_000))
    items = ratings.items()
    optional = ("genres", "countries", "people", "leading")
    nothing = {name: [[]] * len(items) for name in optional}
    bare = pa.table(items.to_pydict() | nothing, schema=ITEM_COLUMNS)
    return World(ratings.load(), ItemTable.from_table(items), ItemTable.from_table(bare))


@pytest.fixture(scope="module")
def small(world):
    return world.model(ALL, SMALL)


@pytest.fixture
def ranker(world, small):
    return Ranker.of(small, world.interactions, world.item_table, Precision.FLOAT32)


def asked_of(world):
    """A frequent user, a rare one and a stranger; all items and two unknown ones."""
    users, counts = np.unique(world.interactions.user, return_counts=True)
    items = np.concatenate([world.item_table.items, [-5, 10**12]])
    return [int(users[counts.argmax()]), int(users[counts.argmin()]), -9], items


def wanted(model, interactions, item_table, user, items, at):
    scorer = model_scorer(model, interactions, item_table)
    return scorer(Queries.of_every_pair(np.array([user]), items, at))


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("items", ["item_table", "bare"])
def test_scores_are_those_of_the_model(world, name, candidates):
    model, item_table = world.model(*CASES[name]), getattr(world, candidates)
    half = len(world.interactions) - 300
    ranker = Ranker.of(model, world.before(half), item_table, Precision.FLOAT32)
    for i in range(half, len(world.interactions)):
        columns = (getattr(world.interactions, name)[i] for name in Interactions.__slots__)
        ranker.observe(*map(int, columns))
    users, items = asked_of(world)
    for later in (0, 40 * 86_400):
        at = ranker.known_until + later
        for user in users:
            scores = ranker.scores(user, items, at)
            expected = wanted(model, world.interactions, item_table, user, items, at)
            assert scores.dtype == np.float32
            np.testing.assert_allclose(scores, expected, rtol=0, atol=ranker.tolerance)
            assert np.ptp(expected) > 0.01 or name == "numbers alone"
            held = dict(zip(items.tolist(), expected, strict=True))
            ranked = [held[one.item] for one in ranker.rank(user, items, at, len(items))]
            assert (np.diff(ranked) <= 2 * ranker.tolerance).all()


def test_a_model_without_ratings_or_items_answers(world, small):
    interactions = world.before(0)
    items = ItemTable.from_table(ITEM_COLUMNS.empty_table())
    ranker = Ranker.of(small, interactions, items, Precision.FLOAT32)
    scores = ranker.scores(1, np.array([5, 6]), 10**9)
    expected = wanted(small, interactions, items, 1, np.array([5, 6]), 10**9)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-5)
    assert ranker.rank(1, np.array([], np.int64), 10**9, 3) == ()


def test_a_token_that_only_the_model_knows_keeps_its_weights(world, small):
    """The log begins anew; users and candidates are still those of the vocabularies."""
    candidates = ItemTable.from_table(ITEM_COLUMNS.empty_table())
    ranker = Ranker.of(small, world.before(0), candidates, Precision.FLOAT32)
    user, items = int(world.interactions.user[0]), world.interactions.item[:40]
    expected = wanted(small, world.before(0), candidates, user, items, 10**9)
    np.testing.assert_allclose(ranker.scores(user, items, 10**9), expected, rtol=0, atol=1e-5)
    assert np.ptp(expected) > 0.01


def test_a_list_is_the_best_candidates_each_once(ranker, world):
    items = np.repeat(world.item_table.items, 2)
    scores = dict(zip(items.tolist(), ranker.scores(1, items, 2 * 10**9).tolist(), strict=True))
    best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:10]
    assert ranker.rank(1, items, 2 * 10**9, 10) == tuple(Ranked(*pair) for pair in best)
    assert len(ranker.rank(1, items, 2 * 10**9, 10**6)) == len(scores)


def test_of_equal_items_the_lower_id_comes_first(ranker):
    strangers = np.array([-2, -9, -4, -9])
    found = ranker.rank(1, strangers, 2 * 10**9, 5)
    assert [one.item for one in found] == [-9, -4, -2]
    assert len({one.probability for one in found}) == 1


def test_a_list_of_nothing_is_refused(ranker):
    with pytest.raises(InputError, match="k is 0; at least 1"):
        ranker.rank(1, np.array([1]), 5, 0)


def test_a_rating_changes_scores_and_seen_at_once(ranker, world):
    items, at = world.item_table.items, ranker.known_until
    before = ranker.scores(-1, items, at)
    assert ranker.observe(-1, int(items[0]), 10, at)
    assert not ranker.observe(-1, int(items[0]), 3, at)
    np.testing.assert_array_equal(ranker.scores(-1, items, at), before)
    assert (ranker.scores(-1, items, ranker.known_until) != before).any()
    assert ranker.seen(-1).tolist() == [items[0]]
    assert -1 in ranker.known_users
    assert ranker.observe(-1, 10**15, 10, at)
    assert 10**15 in ranker.items


def test_after_loading_nothing_is_left_to_compile(ranker, world):
    def signatures():
        functions = [*vars(kernels).values(), *vars(history_state).values()]
        return [len(f.signatures) for f in functions if isinstance(f, CPUDispatcher)]

    before = signatures()
    users, items = asked_of(world)
    for user in users:
        ranker.rank(user, items, 3 * 10**9, 5)
        ranker.observe(user, 10**15 + user, 10, 3 * 10**9)
        ranker.scores(user, items[:0], 4 * 10**9)
        ranker.scores(user, items[::2], 4 * 10**9)
    assert signatures() == before


def test_compiled_code_calls_no_compiled_code_of_another_file_that_may_change():
    functions = [f for f in vars(kernels).values() if isinstance(f, CPUDispatcher)]
    assert functions
    for function in functions:
        called = {function.py_func.__globals__.get(n) for n in function.py_func.__code__.co_names}
        modules = {f.__module__ for f in called if isinstance(f, CPUDispatcher)}
        assert modules <= {kernels.__name__, model_kernels.__name__}


def test_many_may_ask_while_ratings_come_in(world, small):
    ranker = Ranker.of(small, world.before(6000), world.item_table, Precision.FLOAT32)
    users, items = asked_of(world)
    interactions = world.interactions
    rest = range(6000, len(interactions))

    def write():
        for i in rest:
            ranker.observe(
                int(interactions.user[i]),
                int(interactions.item[i]),
                int(interactions.value[i]),
                int(interactions.time[i]),
            )

    def ask(user):
        return [ranker.scores(user, items, 2 * 10**9) for _ in range(150)]

    with ThreadPoolExecutor(4) as pool:
        writing, *asking = [pool.submit(write), *(pool.submit(ask, user) for user in users)]
        writing.result()
        assert all(np.isfinite(scores).all() for one in asking for scores in one.result())
    for user in users:
        expected = wanted(small, interactions, world.item_table, user, items, 2 * 10**9)
        np.testing.assert_allclose(ranker.scores(user, items, 2 * 10**9), expected, atol=1e-5)


def test_bfloat16_is_within_its_stated_tolerance(world):
    """Emulated here if need be: the numbers are the same, only slower."""
    network = replace(preset("paper").network, hidden=(256, 128, 64))
    model = world.model(preset("paper").features, network)
    state = LiveState.of(world.interactions, world.item_table, model.transform.spec.history, PRIOR)
    tokens = state.users.tokens, state.items.tokens
    exact, rounded = (
        FastScorer.of(model, tokens, world.item_table, dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    users, items = asked_of(world)
    for user in users:
        reading = state.read(user, items, state.known_until)
        one, other = (sigmoid(part.logits(reading)) for part in (exact, rounded))
        apart = np.abs(one - other).max()
        assert 0 < apart <= rounded.tolerance
    assert exact.tolerance == 1e-5
    assert (exact.precision, rounded.precision) == (Precision.FLOAT32, Precision.BFLOAT16)


def test_bfloat16_is_refused_where_it_would_be_emulated(monkeypatch):
    for held, wanted_dtype in (({}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda held=held: held)
        assert matmul_dtype(Precision.AUTO) == wanted_dtype
        assert matmul_dtype(Precision.FLOAT32) == torch.float32
        if not held:
            with pytest.raises(InputError, match="neither AVX512-BF16 nor AMX"):
                matmul_dtype(Precision.BFLOAT16)
    assert matmul_dtype(Precision.BFLOAT16) == torch.bfloat16
