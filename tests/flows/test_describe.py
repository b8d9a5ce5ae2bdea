"""`describe` writes a dataset.toml beside the data, and `check` ends with 2 if data are bad."""

import json

import numpy as np
import pandas as pd
import pytest

from flows.cli import main
from widedeep.data.dataset_file import load_spec
from widedeep.data.describe import describe

ROWS = 2000


@pytest.fixture
def clicks(tmp_path):
    """Return a folder with a log of clicks and a table of items."""
    folder, rng = tmp_path / "shop", np.random.default_rng(1)
    folder.mkdir()
    log = {
        "user_id": rng.integers(1, 90, ROWS),
        "item_id": rng.integers(1, 60, ROWS),
        "timestamp": 1_500_000_000 + np.sort(rng.integers(0, 10**7, ROWS)),
        "clicked": rng.integers(0, 2, ROWS),
        "device": rng.choice(["mobile", "desktop"], ROWS),
        "version": 1,
    }
    items = {"item_id": np.arange(1, 60), "title": [f"[b]thing[/b] {k}" for k in range(59)]}
    pd.DataFrame(log).to_csv(folder / "log.csv", index=False)
    pd.DataFrame(items).to_csv(folder / "items.csv", index=False)
    return folder


def test_describe_writes_the_file_and_says_what_to_do_next(clicks, capsys):
    assert main(["describe", str(clicks)]) == 0
    shown = capsys.readouterr().out
    assert load_spec(clicks) == describe(clicks).spec
    assert str(clicks / "dataset.toml") in shown
    assert "2 tables" in shown
    assert "clicked = 1" in shown
    assert "device (category of the context)" in shown
    assert "1 columns" in shown
    assert f"widedeep check {clicks}" in shown


def test_describe_never_overwrites_unless_told_to(clicks, capsys):
    (clicks / "dataset.toml").write_text("by hand")
    assert main(["describe", str(clicks)]) == 2
    assert "--force" in capsys.readouterr().err
    assert (clicks / "dataset.toml").read_text() == "by hand"
    assert main(["describe", str(clicks), "--force"]) == 0
    assert load_spec(clicks).name == "shop"


def test_describe_writes_elsewhere(clicks, tmp_path, capsys):
    out = tmp_path / "guess.toml"
    assert main(["describe", str(clicks), "--out", str(out)]) == 0
    assert out.read_text(encoding="utf-8") == describe(clicks).text
    assert not (clicks / "dataset.toml").exists()
    assert main(["describe", str(clicks), "--out", str(tmp_path / "no" / "x.toml")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["describe", "check"])
def test_a_folder_that_cannot_be_described_is_one_line_and_2(tmp_path, capsys, command):
    assert main([command, str(tmp_path / "nowhere")]) == 2
    captured = capsys.readouterr()
    assert "does not exist" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_check_of_good_data_ends_with_0(clicks, capsys):
    assert main(["check", str(clicks)]) == 0
    shown = capsys.readouterr().out
    assert "recognised as 2 tables" in shown
    assert "FAIL" not in shown
    assert main(["describe", str(clicks)]) == 0
    assert main(["check", str(clicks)]) == 0
    assert "its dataset.toml" in capsys.readouterr().out


def test_check_of_bad_data_names_the_checks_and_ends_with_2(clicks, capsys):
    assert main(["describe", str(clicks)]) == 0
    log = pd.read_csv(clicks / "log.csv")
    log.assign(clicked=1).to_csv(clicks / "log.csv", index=False)
    capsys.readouterr()
    assert main(["check", str(clicks)]) == 2
    captured = capsys.readouterr()
    assert "FAIL  label" in captured.out
    assert "PASS  rows" in captured.out
    assert captured.err.startswith("widedeep: 2 checks failed: label, split")


def test_check_as_json_is_the_last_line_of_stdout_even_if_it_fails(clicks, capsys):
    assert main(["check", str(clicks), "--json"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["failed"] == []
    assert {"name", "status", "message", "count", "examples"} == {*report["checks"][0]}
    (clicks / "dataset.toml").write_text(describe(clicks).text.replace("device", "devise"))
    assert main(["check", str(clicks), "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["failed"] == ["files"]
    assert "did you mean 'device'" in captured.out


def test_a_misspelt_entry_is_corrected(clicks, capsys):
    text = describe(clicks).text.replace("repeats =", "repeat =")
    (clicks / "dataset.toml").write_text(text)
    assert main(["check", str(clicks)]) == 2
    assert "did you mean 'repeats'" in capsys.readouterr().err


def test_a_cross_of_an_unknown_part_fails(clicks, capsys):
    text = describe(clicks).text + '[model]\ncrosses = [["device", "colour"]]\n'
    (clicks / "dataset.toml").write_text(text)
    assert main(["check", str(clicks)]) == 2
    assert "FAIL  features" in capsys.readouterr().out
