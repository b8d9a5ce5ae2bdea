"""`widedeep rank`: lists for many users in one file, whole or not at all."""

import resource

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient

from flows.champion import choose_version
from flows.cli import main
from flows.rank import COLUMNS, RankRequest, rank, read_users
from tasks.tracking import Tracker
from widedeep.data.ingest import ingest
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.explain import DataSnapshot
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.encoded import FeatureSupport
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.transform import Transform
from widedeep.inputs import InputError
from widedeep.model.network import InputShape, NetworkConfig, WideDeep
from widedeep.model.presets import preset
from widedeep.model.trained_model import TrainedModel
from widedeep.model.trainer import TrainingConfig
from widedeep.store import ArtifactStore
from widedeep.workspace import Workspace

MODEL = "widedeep-sim"


@pytest.fixture(scope="module", autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def workspace(tiny, make_home, tmp_path_factory):
    """A home whose champion has fitted features, random weights and a real history."""
    workspace = Workspace(make_home(tmp_path_factory.mktemp("home")))
    ratings = IngestedData(ingest(tiny, ArtifactStore(workspace.root / "stages"), 1_800_000_000))
    folder = workspace.root / "version"
    history = folder / "artifacts" / "history"
    history.mkdir(parents=True)
    known = DataSnapshot.of(ratings.load(), ratings.items(), ratings.people())
    known.save(history)
    (folder / "artifacts" / "id").mkdir()
    random_model(known.interactions, known.item_table).save(folder / "artifacts" / "id")
    (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
    tracker, client = Tracker(workspace), MlflowClient(workspace.tracking_uri)
    client.create_registered_model(MODEL)
    tags = {"widedeep.gated_id": "id", "widedeep.served_id": "id"}
    client.create_model_version(MODEL, folder.as_uri(), tags=tags)
    tracker.promote(MODEL, "1", replacing=None)
    return workspace


def random_model(interactions, item_table):
    spec, prior = preset("default").features, 0.6
    asked = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    rows = RawFeatures.describe(interactions, asked, item_table, spec.history, prior)
    transform = Transform.fit(spec, prior, rows)
    config = NetworkConfig(embedding=4, hidden=(16,), number_embedding=2)
    generator = torch.Generator().manual_seed(0)
    network = WideDeep(config, InputShape.of(transform), generator)
    with torch.no_grad():
        network.wide.normal_(0, 0.3, generator=generator)
        network.layers[-1].weight.normal_(0, 0.3, generator=generator)
    none = np.zeros(transform.wide_size, np.int64)
    return TrainedModel(
        transform, network, TrainingConfig(), {}, 0, FeatureSupport(none, none, 0, 0)
    )


@pytest.fixture(scope="module")
def registered(workspace):
    return choose_version(workspace, None, "champion")


@pytest.fixture(scope="module")
def known(registered):
    """The model's folder, and what it was registered with."""
    history = registered.version.served.path.with_name("history")
    interactions = Interactions.load(history / "ratings.parquet")
    return TrainedModel.load(registered.version.served.path), interactions, history


def users_file(path, users):
    pd.DataFrame({"user": users}).to_csv(path, index=False)
    return str(path)


def order(tmp_path, users="all", k=5, candidates=None, at=None):
    return RankRequest(str(users), tmp_path / "lists.parquet", k, candidates, at)


def expected(known, user, at, k):
    """The k best items, unrated before `at`, by the model's own scorer."""
    model, interactions, history = known
    early = interactions.time < at
    interactions = Interactions(
        *(getattr(interactions, name)[early] for name in Interactions.__slots__)
    )
    item_table = ItemTable.from_table(pq.read_table(history / "items.parquet"))
    asked = Queries.of_every_pair(np.array([user]), item_table.items, at)
    scores = model_scorer(model, interactions, item_table)(asked)
    scores[np.isin(item_table.items, interactions.item[interactions.user == user])] = -1
    best = np.argsort(-scores, kind="stable")[:k]
    return item_table.items[best], scores[best]


@pytest.mark.parametrize("early", [False, True])
def test_lists_are_the_best_unrated_items_by_the_model(registered, known, tmp_path, early):
    interactions = known[1]
    asked = [int(interactions.user[0]), -7, int(interactions.user[-1])]
    at = int(interactions.time[len(interactions) // 2 if early else -1]) + (0 if early else 1)
    wanted_at = at if early else None
    path = users_file(tmp_path / "users.csv", asked)
    report = rank(registered, order(tmp_path, path, at=wanted_at))
    found = pd.read_parquet(tmp_path / "lists.parquet")
    assert (report.users, report.rows, report.at) == (3, len(found), at)
    assert found["user"].tolist() == np.repeat(asked, 5).tolist()
    assert found["rank"].tolist() == [1, 2, 3, 4, 5] * 3
    for user, rows in found.groupby("user"):
        items, scores = expected(known, user, at, 5)
        np.testing.assert_allclose(rows["probability"], scores, rtol=0, atol=1e-5)
        if (np.diff(scores) < -1e-5).all():
            assert rows["item"].tolist() == items.tolist()


def test_everybody_gets_a_list_without_what_was_rated(registered, known, tmp_path):
    interactions = known[1]
    rank(registered, order(tmp_path, k=7))
    table = pq.read_table(tmp_path / "lists.parquet")
    assert table.schema.equals(COLUMNS)
    found = table.to_pandas()
    assert found["user"].drop_duplicates().tolist() == np.unique(interactions.user).tolist()
    rated = set(zip(interactions.user.tolist(), interactions.item.tolist(), strict=True))
    assert not rated & set(zip(found["user"], found["item"], strict=True))
    assert (found.groupby("user")["probability"].diff().fillna(0) <= 0).all()
    assert found["title"].str.len().gt(0).all()
    items = pq.read_table(known[2] / "items.parquet").to_pandas().set_index("item")
    assert (items.loc[found["item"], "title"].to_numpy() == found["title"]).all()


def test_a_short_list_of_candidates_is_ranked_by_the_same_scores(registered, known, tmp_path):
    rank(registered, order(tmp_path, k=60))
    whole = pd.read_parquet(tmp_path / "lists.parquet").set_index(["user", "item"])
    rank(registered, order(tmp_path, k=5, candidates=20))
    few = pd.read_parquet(tmp_path / "lists.parquet").set_index(["user", "item"])
    assert few.groupby("user").size().max() == 5
    same = whole["probability"].loc[few.index]
    np.testing.assert_allclose(few["probability"], same, rtol=0, atol=1e-5)
    assert len(known[1]) > 0


def test_the_command_writes_the_file_and_says_so(workspace, known, tmp_path, capsys):
    user, out = int(known[1].user[0]), tmp_path / "out.parquet"
    users = tmp_path / "users.parquet"
    pq.write_table(pa.table({"user": [user, user, -1], "other": ["a", "b", "c"]}), users)
    arguments = ["rank", str(users), "--out", str(out), "--home", str(workspace.root), "--k", "3"]
    assert main([*arguments, "--candidates", "all", "--json"]) == 0
    assert f'"rows": {2 * 3}' in capsys.readouterr().out.splitlines()[-1]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert f"{MODEL} version 1" in said
    assert str(out) in said
    assert pq.read_table(out).num_rows == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "users.parquet"]


BAD_FILES = {
    "movie\n3\n": r"has columns \['movie'\]; one named 'user'",
    "user\n1\nsomebody\n": "user 'somebody' in row 2; an integer is wanted",
    "user,x\n1,2\n,3\n": "user '' in row 2",
    "user\n1.5\n": "user '1.5' in row 1",
    "user\n": "has no row",
    "": "cannot be read as csv",
    "user,x\n1,2,3\n": "cannot be read as csv",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_of_users_is_refused_and_nothing_is_written(workspace, tmp_path, capsys, text):
    users, out = tmp_path / "users.csv", tmp_path / "out.parquet"
    users.write_text(text, encoding="utf-8")
    out.write_bytes(b"what was there")
    assert main(["rank", str(users), "--out", str(out), "--home", str(workspace.root)]) == 2
    message = capsys.readouterr().err
    assert len(message.splitlines()) == 1
    with pytest.raises(InputError, match=BAD_FILES[text]):
        read_users(users)
    assert out.read_bytes() == b"what was there"
    assert len([*tmp_path.iterdir()]) == 2


def test_users_may_come_with_a_mark_of_byte_order_spaces_and_signs(tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(b'\xef\xbb\xbf"user",name\r\n 7 ,a\r\n-3,b\r\n7,c\r\n')
    assert read_users(path).tolist() == [7, -3]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.csv", "is no file"), ("users.txt", "ends in '.txt'"), ("bad.parquet", "as parquet")],
)
def test_what_is_no_file_of_users_is_named(tmp_path, name, message):
    (tmp_path / "users.txt").write_text("user\n1\n", encoding="utf-8")
    (tmp_path / "bad.parquet").write_text("user\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_users(tmp_path / name)


@pytest.mark.parametrize("column", [[1.5], [True], [None], [[1]]])
def test_users_of_another_type_are_refused(tmp_path, column):
    path = tmp_path / "users.parquet"
    pq.write_table(pa.table({"user": column}), path)
    with pytest.raises(InputError, match=r"integers are wanted|an integer is wanted"):
        read_users(path)


def test_an_order_that_cannot_be_met_is_refused(tmp_path):
    for wrong, message in (
        ({"k": 0}, "--k is 0"),
        ({"k": 5, "candidates": 4}, "--candidates is 4"),
    ):
        with pytest.raises(InputError, match=message):
            order(tmp_path, **wrong)
    for out in (tmp_path / "a.csv", tmp_path / "none" / "a.parquet", tmp_path):
        with pytest.raises(InputError, match="--out is"):
            RankRequest("all", out, 5, None, None)


def test_a_moment_before_all_ratings_is_refused(registered, tmp_path):
    with pytest.raises(InputError, match="no rating is older"):
        rank(registered, order(tmp_path, at=5))
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_leaves_the_old_file_and_no_other(registered, tmp_path):
    out = tmp_path / "lists.parquet"
    out.write_bytes(b"what was there")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            rank(registered, order(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert out.read_bytes() == b"what was there"
    assert [*tmp_path.iterdir()] == [out]
