"""The commands that need no run."""

import json

import pytest

from flows.cli import main


def test_simulate_writes_a_folder_that_retrain_reads(capsys, tmp_path):
    sizes = ["--users", "300", "--movies", "60", "--ratings", "1000", "--seed", "3"]
    assert main(["simulate", str(tmp_path / "world"), *sizes]) == 0
    lines = (tmp_path / "world" / "rates.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1001
    assert str(tmp_path / "world") in capsys.readouterr().out


def test_simulate_has_sizes_of_its_own_for_what_is_not_given(capsys, tmp_path):
    assert main(["simulate", str(tmp_path / "world"), "--seed", "5"]) == 0
    settings = json.loads((tmp_path / "world" / "simulation.json").read_text(encoding="utf-8"))
    assert settings["simulation"]["ratings"] == 140_710
    capsys.readouterr()


def test_simulate_refuses_impossible_sizes_and_a_full_folder(capsys, tmp_path):
    assert main(["simulate", str(tmp_path / "world"), "--users", "0"]) == 2
    (tmp_path / "file").touch()
    assert main(["simulate", str(tmp_path)]) == 2
    assert all("Traceback" not in line for line in capsys.readouterr().err.splitlines())


@pytest.mark.usefixtures("prefect_server")
def test_a_negative_seed_is_refused(capsys, simulated, tmp_path):
    arguments = ["--home", str(tmp_path), "--data", str(simulated), "--seed", "-1"]
    assert main(["retrain", *arguments]) == 2
    assert "seed is -1" in capsys.readouterr().err.splitlines()[0]


def test_status_of_an_empty_home_is_nothing_yet(capsys, tmp_path):
    assert main(["status", "--home", str(tmp_path)]) == 0
    assert "no model yet" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
