"""`widedeep rank`: lists for many users in one file, whole or not at all."""

import json
import re
import resource
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from flows.cli import main
from flows.options import RankRequest
from flows.rank import COLUMNS, METADATA, rank_users, read_users
from tasks.registry import choose_version
from tests.flows.random_model import MODEL
from tests.worlds import log_line
from widedeep.data.feedback_log import FEEDBACK_FILE, FEEDBACK_HEADER
from widedeep.data.tables import Interactions, SideTables
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.inputs import InputError, to_iso
from widedeep.model.trained_model import TrainedModel


@pytest.fixture(scope="module", autouse=True)
def _same_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def registered(registered_workspace):
    return choose_version(registered_workspace, None, "champion")


@pytest.fixture(scope="module")
def rank(registered_workspace, registered):
    """A function that ranks for a request with the champion."""
    return partial(rank_users, registered_workspace, registered)


@pytest.fixture(scope="module")
def served(registered):
    """The model, the ratings that it was registered with, and the folder of its history."""
    history = registered.version.served.path.with_name("history")
    interactions = Interactions.load(history / "ratings.parquet")
    return TrainedModel.load(registered.version.served.path), interactions, history


def users_file(path, users):
    pd.DataFrame({"user": users}).to_csv(path, index=False)
    return str(path)


def request(tmp_path, users="all", k=5, candidates=None, **more):
    out = tmp_path / "lists.parquet"
    return RankRequest(users=str(users), out=out, k=k, candidates=candidates, **more)


def expected(served, user, at, k):
    """The k best items, unrated before `at`, by the model's own scorer."""
    model, interactions, history = served
    early = interactions.time < at
    interactions = interactions.select_rows(early)
    tables = FeatureTables.from_side_tables(SideTables.load(history))
    items = tables.items.ids
    queries = Queries.for_every_pair(np.array([user]), items, at)
    scores = model_scorer(model, interactions, tables)(queries)
    scores[np.isin(items, interactions.item[interactions.user == user])] = -1
    best = np.argsort(-scores, kind="stable")[:k]
    return items[best], scores[best]


@pytest.mark.parametrize("early", [False, True])
def test_lists_are_the_best_unrated_items_by_the_model(rank, served, tmp_path, early):
    interactions = served[1]
    users = [int(interactions.user[0]), 10**9, int(interactions.user[-1])]
    at = int(interactions.time[len(interactions) // 2 if early else -1]) + (0 if early else 1)
    path = users_file(tmp_path / "users.csv", users)
    report = rank(request(tmp_path, path, at=at if early else None))
    lists = pd.read_parquet(tmp_path / "lists.parquet")
    assert (report.users, report.rows, report.at) == (3, len(lists), at)
    assert lists["user"].tolist() == np.repeat(users, 5).tolist()
    assert lists["rank"].tolist() == [1, 2, 3, 4, 5] * 3
    for user, rows in lists.groupby("user"):
        items, scores = expected(served, user, at, 5)
        np.testing.assert_allclose(rows["probability"], scores, rtol=0, atol=1e-5)
        if (np.diff(scores) < -1e-5).all():
            assert rows["item"].tolist() == items.tolist()


def test_everybody_gets_a_list_without_what_was_rated(rank, served, tmp_path):
    interactions = served[1]
    rank(request(tmp_path, k=7))
    table = pq.read_table(tmp_path / "lists.parquet")
    assert tuple(table.column_names) == COLUMNS
    lists = table.to_pandas()
    assert lists["user"].drop_duplicates().tolist() == np.unique(interactions.user).tolist()
    rated = set(zip(interactions.user.tolist(), interactions.item.tolist(), strict=True))
    assert not rated & set(zip(lists["user"], lists["item"], strict=True))
    assert (lists.groupby("user")["probability"].diff().fillna(0) <= 0).all()
    assert lists["title"].str.len().gt(0).all()
    items = pq.read_table(served[2] / "items.parquet").to_pandas().set_index("item")
    for own, column in (("title_ko", "title"), ("title_en", "title_en")):
        assert (items.loc[lists["item"], own].to_numpy() == lists[column]).all()
    assert (lists["title"] != lists["title_en"]).any()


def test_a_file_says_which_model_made_it_and_when(rank, tmp_path):
    report = rank(request(tmp_path, candidates=50, personalisation=0.25))
    table = pq.read_table(tmp_path / "lists.parquet")
    assert json.loads(table.schema.metadata[METADATA]) == {
        "model": MODEL,
        "version": "1",
        "at": to_iso(report.at),
        "k": 5,
        "candidates": 50,
        "personalisation": 0.25,
        "precision": "float32",
    }
    rows = table.to_pandas()
    assert set(rows["model"]) == {MODEL}
    assert set(rows["version"]) == {"1"}
    assert rows["at"].unique().tolist() == [pd.Timestamp(report.at, unit="s", tz="UTC")]


def test_the_report_measures_the_lists_that_were_written(rank, served, tmp_path):
    report = rank(request(tmp_path, k=7))
    lists = pd.read_parquet(tmp_path / "lists.parquet")
    figures, sets = report.personalisation, lists.groupby("user")["item"].agg(set).tolist()
    shared = [len(a & b) / 7 for i, a in enumerate(sets) for b in sets[:i]]
    assert (figures.lists, report.users) == (len(sets), len(sets))
    assert figures.overlap == pytest.approx(np.mean(shared))
    assert figures.items == lists["item"].nunique()
    assert figures.coverage == figures.items / report.items
    assert figures.most_shown == lists["item"].value_counts().max() / len(sets)
    rated = pd.Series(served[1].item).value_counts().reindex(lists["item"], fill_value=0)
    users = len(np.unique(served[1].user))
    assert figures.novelty == pytest.approx(np.log2((users + 1) / (rated + 1)).mean())


def test_personalised_lists_differ_more_and_a_new_users_stays_as_it_is(rank, served, tmp_path):
    new_user = 10**9
    path = users_file(tmp_path / "users.csv", [*np.unique(served[1].user).tolist(), new_user])
    reports, lists = [], []
    for personalisation in (0.0, 0.9):
        reports.append(rank(request(tmp_path, path, personalisation=personalisation)))
        table = pd.read_parquet(tmp_path / "lists.parquet")
        lists.append(table[table["user"] == new_user]["item"].tolist())
    plain, personal = (report.personalisation for report in reports)
    assert lists[0] == lists[1]
    assert personal.overlap < plain.overlap
    assert personal.items >= plain.items


@pytest.fixture
def feedback(registered_workspace):
    """A function that writes a feedback log for the model, which is gone after the test."""
    folder = registered_workspace.events / MODEL
    folder.mkdir(parents=True)

    def write(*lines):
        text = FEEDBACK_HEADER + "".join(lines)
        (folder / FEEDBACK_FILE).write_text(text, encoding="utf-8")

    yield write
    shutil.rmtree(folder)


def test_users_since_the_last_retrain_get_a_list_that_knows_their_feedback(
    rank, served, feedback, tmp_path
):
    before = rank(request(tmp_path))
    best = pd.read_parquet(tmp_path / "lists.parquet")["item"].iloc[0]
    user, time = int(served[1].user[0]), int(served[1].time[-1]) + 60
    repeated = log_line(user, int(served[1].item[0]), 1, time)
    new = log_line(10**9, best, 10, time)
    feedback(repeated, new, log_line(10**9, best, 3, time + 1), "10\t20\tincomplete")
    after = rank(request(tmp_path))
    lists = pd.read_parquet(tmp_path / "lists.parquet")
    assert (before.feedback, after.feedback) == (0, 1)
    assert (after.users, after.at) == (before.users + 1, time + 1)
    own = lists[lists["user"] == 10**9]
    assert len(own) == 5
    assert best not in own["item"].tolist()
    early = rank(request(tmp_path, at=time))
    assert (early.users, early.feedback) == (before.users, 0)


def test_a_short_list_of_candidates_is_ranked_by_the_same_scores(rank, served, tmp_path):
    rank(request(tmp_path, k=60))
    whole = pd.read_parquet(tmp_path / "lists.parquet").set_index(["user", "item"])
    rank(request(tmp_path, k=5, candidates=20))
    few = pd.read_parquet(tmp_path / "lists.parquet").set_index(["user", "item"])
    assert few.groupby("user").size().max() == 5
    same = whole["probability"].loc[few.index]
    np.testing.assert_allclose(few["probability"], same, rtol=0, atol=1e-5)
    assert len(served[1]) > 0


def test_the_command_writes_the_file_and_says_so(registered_workspace, served, tmp_path, capsys):
    user, out = int(served[1].user[0]), tmp_path / "out.parquet"
    users = tmp_path / "users.parquet"
    pq.write_table(pa.table({"user": [user, user, -1], "other": ["a", "b", "c"]}), users)
    arguments = [
        "rank",
        str(users),
        "--out",
        str(out),
        "--home",
        str(registered_workspace.root),
        "--k",
        "3",
    ]
    assert main([*arguments, "--candidates", "all", "--json"]) == 0
    assert f'"rows": {2 * 3}' in capsys.readouterr().out.splitlines()[-1]
    assert main(arguments) == 0
    out_text = capsys.readouterr().out
    assert f"{MODEL} version 1" in out_text
    assert str(out) in out_text
    assert pq.read_table(out).num_rows == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet", "users.parquet"]


BAD_FILES = {
    "movie\n3\n": r"has columns \['movie'\]; expected one named 'user'",
    "user\n1\nsomebody\n": "user 'somebody' is not an integer",
    "user,x\n1,2\n,3\n": "the user in row 2 is empty",
    "user\n1.5\n": "user '1.5' is not an integer",
    "user\n": "has no row",
    "": "cannot be read as csv",
    "user,x\n1,2,3\n": "cannot be read as csv",
}


@pytest.mark.parametrize("text", BAD_FILES)
def test_a_bad_file_of_users_is_refused_and_nothing_is_written(
    registered_workspace, tmp_path, capsys, text
):
    users, out = tmp_path / "users.csv", tmp_path / "out.parquet"
    users.write_text(text, encoding="utf-8")
    out.write_bytes(b"what was there")
    assert (
        main(["rank", str(users), "--out", str(out), "--home", str(registered_workspace.root)]) == 2
    )
    (message,) = capsys.readouterr().err.splitlines()
    assert re.search(BAD_FILES[text], message)
    assert out.read_bytes() == b"what was there"
    assert len([*tmp_path.iterdir()]) == 2


def test_users_may_come_with_a_mark_of_byte_order_spaces_and_signs(tmp_path):
    path = tmp_path / "users.csv"
    path.write_bytes(b'\xef\xbb\xbf"user",name\r\n 7 ,a\r\n-3,b\r\n7,c\r\n')
    assert read_users(path).to_pylist() == ["7", "-3"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.csv", "is not a file"), ("users.txt", "ends in '.txt'"), ("bad.parquet", "as parquet")],
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
    with pytest.raises(InputError, match=r"expected (an integer|integers)"):
        read_users(path)


@pytest.mark.parametrize(
    ("values", "place", "number"),
    [
        ({"k": 0}, "k", "1"),
        ({"k": 5, "candidates": 4}, "--candidates", "5"),
        ({"personalisation": 1.0}, "personalisation", "less than 1"),
        ({"personalisation": -0.1}, "personalisation", "0"),
        ({"personalisation": float("nan")}, "personalisation", "finite"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(tmp_path, values, place, number):
    with pytest.raises(ValidationError) as raised:
        request(tmp_path, **values)
    assert place in str(raised.value)
    assert number in str(raised.value)


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    for out in (tmp_path / "a.csv", tmp_path / "none" / "a.parquet", tmp_path):
        with pytest.raises(ValidationError, match="--out is"):
            RankRequest(users="all", out=out)


def test_a_moment_before_all_ratings_is_refused(rank, tmp_path):
    with pytest.raises(InputError, match="no interaction is older"):
        rank(request(tmp_path, at=5))
    assert not [*tmp_path.iterdir()]


def test_a_full_disk_leaves_the_old_file_and_no_other(rank, tmp_path):
    out = tmp_path / "lists.parquet"
    out.write_bytes(b"what was there")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            rank(request(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert out.read_bytes() == b"what was there"
    assert [*tmp_path.iterdir()] == [out]
