"""What all commands have in common, and the commands that need no run."""

import json
import re
import subprocess
import sys

import pytest

from flows.cli import main

HEAVY = {"prefect", "mlflow", "torch", "sklearn", "pandas", "matplotlib", "optuna", "ray"}
MLFLOW = {"mlflow", "pandas"}  # importing MLflow imports pandas
ID = ("--user", "1", "--item", "2")
LOADED = {
    ("status",): set(),
    ("memorisation",): MLFLOW,
    ("promote", "1", "--reason", "a test"): MLFLOW,
    ("rollback", "--reason", "a test"): MLFLOW,
    ("explain", *ID): MLFLOW | {"torch"},
    ("rank", "all", "--k", "1", "--out", "lists.parquet"): MLFLOW | {"torch"},
}
"""The heavy modules that a command loads in a workspace with a model."""

COMMANDS = (
    *("retrain", "ablation", "replay", "tune", "status", "promote", "rollback", "explain"),
    *("memorisation", "up", "rank", "serve", "simulate", "describe", "check"),
)
OPTIONS = {
    "retrain": "data as-of validation-from holdout-from mode every publish preset seed precision "
    "device engine workers home json",
    "ablation": "data as-of validation-from holdout-from seeds variants home json",
    "replay": "data from to every preset seed home json",
    "tune": "data as-of validation-from holdout-from trials seed home json",
    "status": "at reasons home json",
    "promote": "reason model home json",
    "rollback": "reason model home json",
    "explain": "user item at features model version home json",
    "memorisation": "model version home json",
    "up": "data cron notify prefect-port mlflow-port home",
    "rank": "out k candidates personalisation precision at engine workers model version home json",
    "serve": "data model host port rate-limit precision home",
    "simulate": "like positive-share users items ratings seed",
    "describe": "out force",
    "check": "json",
}
"""The options of each command, which scripts rely on."""


def modules_after(*arguments, cwd):
    """Return the heavy modules that a fresh process has loaded after a command."""
    code = (
        "import sys; from flows.cli import main; main(sys.argv[1:]); "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.run(command, capture_output=True, text=True, check=True, cwd=cwd)
    return HEAVY & set(process.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("command", LOADED, ids=lambda command: command[0])
def test_a_command_loads_only_what_it_needs(command, registered_workspace, tmp_path):
    home = ("--home", registered_workspace.root)
    assert modules_after(*command, *home, cwd=tmp_path) == LOADED[command]


def test_every_command_explains_all_its_options(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as raised:
            main([command, "--help"])
        assert raised.value.code == 0
        out = capsys.readouterr().out
        flags = {word.strip("[],") for word in out.split() if word.strip("[],").startswith("--")}
        assert flags - {"--help", "--data."} >= {f"--{name}" for name in OPTIONS[command].split()}
        usage, _, explained = out.partition("options:")
        assert usage.startswith(f"usage: widedeep {command} ")
        for line in explained.splitlines():
            assert not line.endswith("None"), line


def explanations(out):
    """Return the words behind each argument of a command's help; "" where there are none."""
    _, _, listed = out.partition("\n\n")[2].partition(":\n")
    entries = re.split(r"\n  (?=\S)", f"\n{listed.partition('WHEN is ISO')[0]}")[1:]
    words = {}
    for entry in entries:
        head, _, text = re.sub(r"\n +", "  ", entry).partition("  ")
        words[head.split()[0].strip(",")] = " ".join(text.split())
    return words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_every_command_is_explained_in_words(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    words = explanations(capsys.readouterr().out)
    assert {f"--{name}" for name in OPTIONS[command].split()} <= words.keys()
    few = {name: text for name, text in words.items() if len(re.findall(r"[A-Za-z]{2,}", text)) < 3}
    assert few == {}


def test_commands_have_no_other_options(capsys):
    for command, names in OPTIONS.items():
        with pytest.raises(SystemExit):
            main([command, "--help"])
        usage = capsys.readouterr().out.partition("\n\n")[0]
        flags = {word.strip("[]") for word in usage.split() if word.startswith(("--", "[--"))}
        assert flags == {f"--{name}" for name in names.split()}, command


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["retrain", "--mode", "tepid"], ("--mode", "tepid", "auto, warm, cold")),
        (["retrain", "--seed", "-1"], ("--seed", "-1", "0")),
        (["retrain", "--as-of", "yesterday"], ("--as-of", "yesterday", "ISO-8601")),
        (["retrain", "--every", "0d"], ("--every", "1")),
        (["retrain", "--workers", "0"], ("--workers", "0", "1")),
        (["replay", "--preset", "tuned"], ("--preset", "tuned", "default, paper")),
        (["ablation", "--seeds", "0"], ("--seeds", "0", "1")),
        (["tune", "--trials", "x"], ("--trials", "x", "integer")),
        (["explain", "--user", "1"], ("--item", "required")),
        (["promote", "2"], ("--reason", "required")),
        (["rank", "all", "--out", "lists.csv"], ("--out", "lists.csv", ".parquet")),
        (["serve", "--port", "70000"], ("--port", "70000")),
        (["status", "--colour"], ("--colour",)),
        (["flush"], ("flush", "retrain")),
        ([], ("command", "required")),
    ],
)
def test_bad_usage_ends_with_status_2_and_one_line(arguments, words, capsys):
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("widedeep: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("command", [["explain", *ID], ["memorisation"], ["promote", "1"]])
def test_a_command_without_a_model_says_how_to_begin_and_leaves_nothing(capsys, tmp_path, command):
    reason = ["--reason", "a test"] if command[0] == "promote" else []
    home = tmp_path / "home"
    assert main([*command, *reason, "--home", str(home)]) == 2
    assert "no model yet" in capsys.readouterr().err
    assert not home.exists() or [path.name for path in home.iterdir()] == ["retrain.lock"]


def test_a_model_whose_run_kept_no_report_is_named(capsys, registered_workspace):
    assert main(["memorisation", "--home", str(registered_workspace.root)]) == 2
    assert "has no memorisation.md" in capsys.readouterr().err


def test_simulate_writes_a_folder_that_retrain_reads(capsys, tmp_path):
    sizes = ["--users", "300", "--items", "60", "--ratings", "1000", "--seed", "3"]
    assert main(["simulate", str(tmp_path / "world"), *sizes]) == 0
    lines = (tmp_path / "world" / "rates.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1001
    assert str(tmp_path / "world") in capsys.readouterr().out


def test_simulate_takes_the_sizes_of_kmrd_small_unless_told_otherwise(capsys, tmp_path):
    assert main(["simulate", str(tmp_path / "world"), "--seed", "5"]) == 0
    settings = json.loads((tmp_path / "world" / "simulation.json").read_text(encoding="utf-8"))
    assert settings["simulation"]["ratings"] == 140_710
    capsys.readouterr()


def test_simulate_refuses_impossible_sizes_and_a_full_folder(capsys, tmp_path):
    assert main(["simulate", str(tmp_path / "world"), "--users", "0"]) == 2
    (tmp_path / "file").touch()
    assert main(["simulate", str(tmp_path)]) == 2
    assert all("Traceback" not in line for line in capsys.readouterr().err.splitlines())
