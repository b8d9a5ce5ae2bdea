"""The engine is a setting; if something it needs is missing, one sentence says so."""

import sys

import pytest
from pydantic import ValidationError

from flows.cli import main
from tasks.engine import LOCAL, Engine
from widedeep.inputs import EngineName


def ray(workers):
    return Engine(engine=EngineName.RAY, workers=workers)


def test_local_is_the_default():
    assert Engine() == LOCAL
    assert LOCAL.engine is EngineName.LOCAL
    assert LOCAL.replicas == 1
    assert LOCAL.as_key() == {}


def test_a_model_of_several_replicas_is_another_model_than_that_of_one():
    assert ray(3).as_key() == {"replicas": 3}
    assert ray(1).as_key() == {}
    assert Engine(engine=EngineName.LOCAL, workers=3).as_key() == {}


def test_no_workers_are_refused():
    with pytest.raises(ValidationError, match="workers"):
        ray(0)


def test_a_missing_extra_is_named_at_once(tmp_path, tiny, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    arguments = ["retrain", "--data", str(tiny), "--home", str(tmp_path), "--engine", "ray"]
    assert main(arguments) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("widedeep: engine ray: Ray is not installed; install the extra")
    assert not list(tmp_path.iterdir())
