"""Any data set goes through every command: context, users' features, text ids, a flat table.

Each mistake in the data stops a run with one sentence, and the champion stays.
"""

import json
import shutil

import mlflow
import numpy as np
import pandas as pd
import pytest

from flows.cli import main
from tests.flows.test_bad_input import fingerprint
from widedeep.data.feedback_log import FEEDBACK_FILE, FEEDBACK_HEADER
from widedeep.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_workspace):
    return make_workspace(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def first(workspace, clicks, run_command):
    result, out = run_command("retrain", "--home", workspace, "--data", clicks)
    return result, out


def test_the_first_version_beats_the_baseline_and_says_what_is_positive(first):
    result, out = first
    assert result["decision"] == "promote"
    assert result["model"] == "widedeep-sim-clicks"
    assert "label     clicked = 1, 40 % positive" in out


def test_text_ids_stand_in_the_predictions_as_in_the_data(first, clicks):
    result, _ = first
    predictions = pd.read_parquet(result["predictions"])
    log = pd.read_parquet(clicks / "clicks-1.parquet")
    assert {*predictions.user} <= {*log.visitor}
    assert {*predictions.item} <= {*log.article}


def test_new_rows_with_new_values_are_learned_warm(first, workspace, clicks, tmp_path, run_command):
    del first
    grown = shutil.copytree(clicks, tmp_path / "sim-clicks")
    log = pd.read_parquet(clicks / "clicks-1.parquet")
    later = log.tail(600).assign(ts=lambda rows: rows.ts + 40_000_000_000, device="watch")
    later["visitor"] = [f"방문자-{number % 40}" for number in range(len(later))]
    later.to_parquet(grown / "clicks-2.parquet", index=False)
    result, out = run_command("retrain", "--home", workspace, "--data", grown)
    assert (result["mode"], result["warm_started_from"]) == ("warm", "1")
    assert result["rows"]["read"] == len(log) + 600
    assert "600 new" in out


def test_an_explanation_reads_the_context_that_is_given(first, workspace, run_command):
    del first
    asked = ("explain", "--home", workspace, "--version", "1", "--user", "u1", "--item", "i3")
    plain, _ = run_command(*asked)
    given, _ = run_command(*asked, "--features", "device=device-2", "--features", "age=70")
    assert (given["user"], given["item"]) == ("u1", "i3")
    fired = {row["english"] for row in given["wide"]}
    assert any("device device-2" in text for text in fired)
    assert any("age" in text for text in fired)
    assert given["logit"] != plain["logit"]


def test_a_feature_that_the_data_do_not_have_is_named(first, workspace, capsys):
    del first
    asked = ["explain", "--home", str(workspace), "--user", "u1", "--item", "i3"]
    assert main([*asked, "--features", "devise=x"]) == 2
    assert "did you mean 'device'" in capsys.readouterr().err


def test_lists_are_written_with_the_datas_ids(first, workspace, tmp_path, run_command):
    del first
    out = tmp_path / "lists.parquet"
    report, _ = run_command("rank", "all", "--home", workspace, "--out", out, "--k", "3")
    lists = pd.read_parquet(out)
    assert len(lists) == report["rows"] == 3 * report["users"]
    assert lists.user.str.match("u[0-9]+|방문자").all()
    assert lists.item.str.startswith("i").all()


def test_a_new_user_of_the_feedback_log_has_a_list_under_the_datas_id(
    first, workspace, tmp_path, run_command
):
    result, _ = first
    out, log = tmp_path / "lists.parquet", workspace / "events" / result["model"] / FEEDBACK_FILE
    rank = ("rank", "all", "--home", workspace, "--out", out, "--k", "3")
    before, _ = run_command(*rank)
    log.parent.mkdir(parents=True)
    line = "새 방문자\ti1\t2000000000\t1\t1\t\n"
    log.write_text(f"{FEEDBACK_HEADER}{line}{line}", encoding="utf-8")
    after, _ = run_command(*rank)
    shutil.rmtree(log.parent)
    assert after["users"] == before["users"] + 1
    assert after["feedback"] == before["feedback"] + 2, "an article may be shown again"
    lists = pd.read_parquet(out)
    assert (lists.user == "새 방문자").sum() == 3
    assert set(lists["version"]) == {result["version"]}


def test_mlflow_serves_it_with_context_and_knows_what_is_missing(first, workspace):
    result, _ = first
    mlflow.set_tracking_uri(Workspace(workspace).tracking_uri)
    model = mlflow.pyfunc.load_model(f"models:/{result['model']}/1")
    rows = pd.DataFrame(
        {
            "user": ["u1", "u1", "u1", "newcomer"],
            "item": ["i3", "i3", "i3", "unheard-of"],
            "device": ["device-1", "device-2", None, "toaster"],
        }
    )
    probability = model.predict(rows)["probability"].to_numpy()
    assert ((probability > 0) & (probability < 1)).all()
    assert len(np.unique(probability[:3])) == 3
    without = model.predict(rows[["user", "item"]])["probability"].to_numpy()
    assert without[2] == pytest.approx(probability[2])


def test_memorisation_names_the_datas_features(first, workspace, capsys):
    del first
    assert main(["memorisation", "--home", str(workspace), "--version", "1"]) == 0
    report = capsys.readouterr().out
    assert "| country x topic |" in report
    assert "| device x topic |" in report


@pytest.mark.parametrize(
    "command",
    [
        ("ablation", "--seeds", "1", "--variants", "wide only"),
        ("replay", "--from", "2016-01-01", "--to", "2018-12-31", "--every", "900d"),
        ("tune", "--trials", "1"),
    ],
    ids=lambda command: command[0],
)
def test_studies_work_on_it(command, workspace, clicks, run_command):
    result, _ = run_command(*command, "--home", workspace, "--data", clicks)
    assert result["model"] == "widedeep-sim-clicks"


def test_the_tutorials_three_commands_are_all_it_takes(ml_100k, tmp_path, capsys, make_workspace):
    folder = shutil.copytree(ml_100k, tmp_path / "ml-100k")
    log = pd.read_csv(folder / "ml-100k.inter", sep="\t")
    log[log["user_id:token"] % 3 == 0].to_csv(folder / "ml-100k.inter", sep="\t", index=False)
    assert main(["describe", str(folder)]) == 0
    assert main(["check", str(folder), "--json"]) == 0
    checks = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert checks["failed"] == []
    home = tmp_path / "home"
    home.mkdir()
    make_workspace(home)
    assert main(["retrain", "--data", str(folder), "--home", str(home), "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["model"] == "widedeep-ml-100k"
    assert result["challenger"]["streaming"]["auc"] > 0.7
    asked = ["explain", "--home", str(home), "--version", "1", "--user", "1", "--item", "50"]
    assert main([*asked, "--features", "occupation=artist", "--json"]) == 0
    wide = json.loads(capsys.readouterr().out.splitlines()[-1])["wide"]
    assert any("occupation artist" in row["english"] for row in wide)


def edit_spec(old, new):
    def edit(folder):
        path = folder / "dataset.toml"
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    return edit


def edit_log(**columns):
    def edit(folder):
        path = folder / "clicks-1.parquet"
        pd.read_parquet(path).assign(**columns).to_parquet(path, index=False)

    return edit


def without_items(folder):
    (folder / "articles.csv").unlink()


def words_for_numbers(folder):
    path = folder / "articles.csv"
    articles = pd.read_csv(path)
    articles.assign(words="many").to_csv(path, index=False)


SECONDS = edit_spec('time_unit = "ms"', 'time_unit = "s"')
MISTAKES = {
    "a file that is not there": (without_items, "articles.csv"),
    "a column that is not there": (
        edit_spec("interactions.device", "interactions.devices"),
        "did you mean 'device'",
    ),
    "two time columns": (edit_spec('time = "ts"', 'time = ["ts", "clicked"]'), "interactions.time"),
    "no time column": (edit_spec('time = "ts"\n', ""), "retraining needs time"),
    "a label of one value": (edit_log(clicked=1), "both classes"),
    "a label of text": (edit_log(clicked="perhaps"), "clicked"),
    "milliseconds read as seconds": (SECONDS, 'time_unit = "ms"'),
    "times cut short": (edit_log(ts=lambda log: log.ts // 1000), "cut short"),
    "missing ids": (edit_log(visitor=None), "visitor is empty"),
    "items without ids": (edit_log(article=""), "article is empty"),
    "a feature of another type": (words_for_numbers, "words is not a number"),
    "a cross of unknown parts": (edit_spec('["country", "topic"]', '["land", "topic"]'), "'land'"),
    "a file of another version": (edit_spec("version = 1", "version = 7"), "version 7"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_changes_nothing(
    mistake, first, workspace, clicks, tmp_path, capsys
):
    del first
    spoil, words = MISTAKES[mistake]
    folder = shutil.copytree(clicks, tmp_path / "sim-clicks")
    spoil(folder)
    before = fingerprint(workspace)
    assert main(["retrain", "--home", str(workspace), "--data", str(folder)]) == 2
    error = capsys.readouterr().err
    assert words in error.splitlines()[0]
    assert "Traceback" not in error
    after = fingerprint(workspace)
    assert {path: after.get(path) for path in before} == before
    assert main(["check", str(folder)]) == 2, "check says so beforehand"
