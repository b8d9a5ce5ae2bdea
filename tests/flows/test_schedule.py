"""Retraining late, again, or for the past leads to what it would have led to in time."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from flows.cli import main
from tasks.model_store import ModelStore
from widedeep.model.trained_model import TrainedModel
from widedeep.store import MANIFEST, file_digest
from widedeep.workspace import Workspace

pytestmark = pytest.mark.usefixtures("prefect_server")

DAY = 86_400


@pytest.fixture(scope="module")
def rates(simulated):
    return pd.read_csv(simulated / "rates.csv")


@pytest.fixture(scope="module")
def middle(rates):
    """A moment at which four fifths of the ratings are known."""
    return int(rates.time.quantile(0.8))


@pytest.fixture(scope="module")
def then(simulated, rates, middle, tmp_path_factory):
    """The folder as it was at that moment, items without a rating left out."""
    folder = tmp_path_factory.mktemp("then") / simulated.name
    folder.mkdir()
    for file in simulated.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    known = rates[rates.time < middle]
    known.to_csv(folder / "rates.csv", index=False)
    header, *items = (simulated / "movies.txt").read_text(encoding="utf-8").splitlines(True)
    rated = set(known.movie)
    kept = [item for item in items if int(item.split("\t")[0]) in rated]
    (folder / "movies.txt").write_text("".join([header, *kept]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def in_time(then, run_command, make_workspace, tmp_path_factory):
    """The run as it was made then, publishing what it judged."""
    workspace = make_workspace(tmp_path_factory.mktemp("home"))
    arguments = ("--home", workspace, "--data", then, "--publish", "as-gated")
    result, _ = run_command("retrain", *arguments)
    return Workspace(workspace), result


@pytest.fixture(scope="module")
def backfilled(simulated, middle, run_command, make_workspace, tmp_path_factory):
    """The run made for that moment from today's files."""
    workspace = make_workspace(tmp_path_factory.mktemp("home"))
    result, _ = run_command("retrain", "--home", workspace, "--data", simulated, "--as-of", middle)
    return Workspace(workspace), result


def contents(workspace, kind):
    """Digests of the files of the one artefact of a kind."""
    (folder,) = (workspace.stages.root / kind).iterdir()
    return digests(folder)


def digests(folder):
    """Of all files by their place, but for the manifest: that says what they were made from."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != MANIFEST]
    return {file.relative_to(folder): file_digest(file) for file in files}


def test_a_backfill_gives_the_same_features_to_the_byte(in_time, backfilled):
    then, now = (contents(workspace, "features") for workspace, _ in (in_time, backfilled))
    assert then == now
    assert len(then) > 10


def test_a_backfill_gives_the_same_model_scores_and_decision(in_time, backfilled):
    (_, then), (_, now) = in_time, backfilled
    for name in ("challenger", "decision", "champion_version"):
        assert now[name] == then[name]
    assert file_digest(Path(now["predictions"])) == file_digest(Path(then["predictions"]))
    assert then["split"]["holdout_from"] == now["split"]["holdout_from"]


def champion(workspace, model):
    return ModelStore(workspace).champion(model)


def test_what_serves_has_learned_its_holdout_and_what_was_judged_has_not(backfilled, middle):
    workspace, result = backfilled
    assert result["decision"] == "promote"
    version = champion(workspace, result["model"])
    gated, served = (TrainedModel.load(model.path) for model in (version.gated, version.served))
    assert gated.learned_until == result["split"]["holdout_from"]
    assert served.learned_until == middle


def test_as_gated_serves_the_very_model_that_was_judged(in_time, backfilled):
    workspace, result = in_time
    version = champion(workspace, result["model"])
    assert version.served == version.gated
    other = champion(backfilled[0], result["model"])
    assert digests(version.gated.path) == digests(other.gated.path)


def test_the_same_moment_again_changes_nothing(backfilled, simulated, middle, capsys):
    workspace, before = backfilled
    serving = champion(workspace, before["model"])
    arguments = ["--home", str(workspace.root), "--data", str(simulated), "--as-of", str(middle)]
    assert main(["retrain", *arguments, "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["challenger"] == before["challenger"]
    assert (result["version"], result["champion_version"]) == (before["version"],) * 2
    assert champion(workspace, before["model"]) == serving


def test_missed_moments_are_caught_up_in_order_or_jumped(
    backfilled, simulated, middle, rates, capsys
):
    workspace, before = backfilled
    days = (int(rates.time.max()) - middle) // DAY // 2
    arguments = ["--home", str(workspace.root), "--data", str(simulated), "--json"]
    assert main(["retrain", *arguments, "--every", f"{days}d"]) == 0
    out = capsys.readouterr().out
    results = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    step = days * DAY
    moments = [middle + step, middle + 2 * step, int(rates.time.max()) + 1]
    assert [result["as_of"] for result in results] == moments
    assert all(result["mode"] == "warm" for result in results)
    assert results[0]["warm_started_from"] == before["version"]
    assert main(["retrain", *arguments, "--every", f"{days}d"]) == 0
    again = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [json.loads(line)["as_of"] for line in again] == moments[-1:]


def test_moments_of_the_split_and_a_series_exclude_each_other(simulated, tmp_path, capsys):
    arguments = ["--home", str(tmp_path), "--data", str(simulated), "--every", "90d"]
    assert main(["retrain", *arguments, "--holdout-from", "2018-01-01"]) == 2
    assert main(["retrain", *arguments[:-1], "0d"]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert ["--every" in errors[0], "--every is '0'" in errors[1]] == [True, True]


def test_what_arrived_since_the_last_decision_is_reported(
    in_time, then, simulated, rates, middle, run_command, tmp_path
):
    workspace, _ = in_time
    folder = shutil.copytree(then, tmp_path / then.name)
    (folder / "movies.txt").write_bytes((simulated / "movies.txt").read_bytes())
    header, first, *_ = (folder / "rates.csv").read_text(encoding="utf-8").splitlines()
    rows = (simulated / "rates.csv").read_text(encoding="utf-8").replace(first + "\n", "", 1)
    (folder / "rates.csv").write_text(rows, encoding="utf-8")
    user, item, value, time = map(int, first.split(","))
    changed = ",".join(map(str, (user, item, value % 10 + 1, time)))
    (folder / "rates-2.csv").write_text(f"{header}\n{changed}\n", encoding="utf-8")
    _, out = run_command("retrain", "--home", workspace.root, "--data", folder)
    arrivals = re.search(r"interactions: ([\d,]+) new, 1 changed", out)
    new = rates[rates.time >= middle].drop_duplicates()
    assert int(arrivals[1].replace(",", "")) == len(new)
    assert re.search(r"files: 1 new, \d changed", out)
    assert "the past has changed" in out
