"""The engine is a setting; what it lacks is said in one sentence."""

import sys

import pytest

from flows.cli import main
from flows.run_form import Computing
from tasks.engine import LOCAL, Engine, EngineName
from widedeep.inputs import InputError


def test_local_is_what_nobody_has_to_ask_for():
    assert Computing().config == LOCAL == Engine(EngineName.LOCAL)
    assert LOCAL.replicas == 1
    assert LOCAL.as_key() == {}


def test_a_model_of_several_replicas_is_another_model_than_that_of_one():
    assert Engine(EngineName.RAY, 3).as_key() == {"replicas": 3}
    assert Engine(EngineName.RAY, 1).as_key() == {}
    assert Engine(EngineName.LOCAL, 3).as_key() == {}


def test_no_workers_are_refused():
    with pytest.raises(InputError, match="workers is 0; at least 1 is wanted"):
        Engine(EngineName.RAY, 0)


def test_without_the_extra_it_is_named_at_once(tmp_path, tiny, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    arguments = ["retrain", "--data", str(tiny), "--home", str(tmp_path), "--engine", "ray"]
    assert main(arguments) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("widedeep: engine ray: Ray is not installed; install the extra")
    assert not list(tmp_path.iterdir())
