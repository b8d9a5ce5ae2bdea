"""Bad input gets one clear error and exit status 2, and what was there stays as it was."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from time import sleep

import pytest

from flows.cli import main
from tasks.training import features

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_workspace):
    return make_workspace(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module", autouse=True)
def champion(workspace, simulated, prefect_server):
    """A champion that no bad input may touch."""
    del prefect_server
    assert main(["retrain", "--home", str(workspace), "--data", str(simulated)]) == 0


def fingerprint(workspace):
    """Every file of finished work: artefacts, registered models, decisions."""
    folders = ("stages", "artifacts", "decisions")
    files = [p for f in folders for p in sorted((Path(workspace) / f).rglob("*")) if p.is_file()]
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def replace_line(path, number, text):
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[number] = text
    path.write_text("\n".join(lines), encoding="utf-8")


def missing_file(world):
    (world / "rates.csv").unlink()


def missing_column(world):
    replace_line(world / "rates.csv", 0, "user,movie,rate,when")


def wrong_separator(world):
    path = world / "rates.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",", "\t"), encoding="utf-8")


def not_utf8(world):
    path = world / "movies.txt"
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))


def empty_file(world):
    (world / "rates.csv").write_text("", encoding="utf-8")


def duplicated_header(world):
    replace_line(world / "rates.csv", 0, "user,movie,rate,rate")


def mostly_bad_rows(world):
    path = world / "rates.csv"
    text = re.sub(
        r",(\d+),(\d+)$", r",ten,\2", path.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    path.write_text(text, encoding="utf-8")


def one_class(world):
    path = world / "rates.csv"
    text = re.sub(r",\d+,(\d+)$", r",10,\1", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (missing_file, "rates.csv"),
        (missing_column, "time"),
        (wrong_separator, "expected comma"),
        (not_utf8, "UTF-8"),
        (empty_file, "empty"),
        (duplicated_header, "rate"),
        (mostly_bad_rows, "ten"),
        (one_class, "both classes"),
    ],
)
def test_a_bad_file_stops_the_run_before_anything_changes(capsys, workspace, world, spoil, word):
    spoil(world)
    before = fingerprint(workspace)
    assert main(["retrain", "--home", str(workspace), "--data", str(world)]) == 2
    error = capsys.readouterr().err
    assert word in error.splitlines()[0]
    assert "Traceback" not in error
    assert {k: v for k, v in fingerprint(workspace).items() if k in before} == before
    assert not [k for k in set(fingerprint(workspace)) - set(before) if "/models/" in k]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--as-of", "yesterday"], "--as-of is 'yesterday'"),
        (["--as-of", "1990-01-01"], "no interaction is older than"),
        (
            ["--validation-from", "2018-01-01", "--holdout-from", "2019-12-15"],
            "the holdout part has",
        ),
        (
            ["--validation-from", "2019-01-01", "--holdout-from", "2018-01-01"],
            "before holdout-from",
        ),
    ],
)
def test_an_impossible_window_is_refused(capsys, workspace, simulated, arguments, words):
    before = fingerprint(workspace)
    assert main(["retrain", "--home", str(workspace), "--data", str(simulated), *arguments]) == 2
    assert words in capsys.readouterr().err.splitlines()[0]
    assert fingerprint(workspace) == before


def test_a_device_that_is_not_there_is_refused_before_anything_begins(
    capsys, workspace, simulated, monkeypatch
):
    before = fingerprint(workspace)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    arguments = ["--home", str(workspace), "--data", str(simulated), "--device", "cuda"]
    assert main(["retrain", *arguments]) == 2
    assert "device is cuda, but torch" in capsys.readouterr().err.splitlines()[0]
    assert fingerprint(workspace) == before


def test_a_stage_that_hangs_is_ended_and_changes_nothing(capsys, workspace, simulated, monkeypatch):
    before = fingerprint(workspace)
    monkeypatch.setattr("flows.retrain.features", features.with_options(timeout_seconds=0.5))
    monkeypatch.setattr("tasks.training.code_version", lambda _: sleep(60))
    assert main(["retrain", "--home", str(workspace), "--data", str(simulated)]) == 1
    assert "timed out after 0.5 second(s)" in capsys.readouterr().err.splitlines()[0]
    assert fingerprint(workspace) == before


def test_a_missing_folder_is_refused(capsys, workspace):
    assert main(["retrain", "--home", str(workspace), "--data", "/no/such/folder"]) == 2
    assert "/no/such/folder" in capsys.readouterr().err.splitlines()[0]


def test_bad_rows_are_quarantined_and_counted(capsys, workspace, world):
    path = world / "rates.csv"
    user, item, _, time = path.read_text(encoding="utf-8").splitlines()[1].split(",")
    bad = [
        f"{user},{item},11,{time}",
        f"{user},{item},ten,{time}",
        f"{user},{item},5,32503680000",
        f"{user},{item},5,soon",
        f"{user},999999,5,{time}",
        "user,movie,rate,time",
        "1,2,3",
    ]
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(bad) + "\n")
    assert main(["retrain", "--home", str(workspace), "--json", "--data", str(world)]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["rows"]
    assert rows["quarantined"] == len(bad)
    assert rows["read"] == 8_000 + len(bad)
    assert rows["read"] == rows["examples"] + rows["superseded"] + rows["quarantined"]


@pytest.fixture
def full_disk(workspace):
    """Stages on a disk that is too small for what a run writes there."""
    stages = workspace / "stages"
    command = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(stages)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("no right to mount a small tmpfs here")
    yield
    # Lazily: the error that was raised still refers to the file it could not write.
    subprocess.run(["umount", "--lazy", str(stages)], check=True)  # noqa: S607


def champion_of(capsys, workspace):
    capsys.readouterr()
    assert main(["status", "--home", str(workspace), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["champion_version"]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_ends_the_run_with_status_1_and_keeps_the_champion(capsys, workspace, world):
    before = champion_of(capsys, workspace)
    assert main(["retrain", "--home", str(workspace), "--data", str(world), "--seed", "7"]) == 1
    assert "No space left on device" in capsys.readouterr().err.splitlines()[0]
    assert champion_of(capsys, workspace) == before
    assert len(list((workspace / "stages").rglob("manifest.json"))) <= 1
