"""No task may hang for ever, and each says on what it works."""

import importlib
from pathlib import Path

import pytest
from prefect import Task

import tasks

MODULES = sorted(path.stem for path in Path(tasks.__file__).parent.glob("[a-z]*.py"))
FOUND = {
    task.name: task
    for module in MODULES
    if module not in {"served_model", "stranger"}  # programs that others run
    for task in vars(importlib.import_module(f"tasks.{module}")).values()
    if isinstance(task, Task)
}


@pytest.mark.parametrize("name", FOUND)
def test_a_task_has_a_time_limit_and_a_name_of_its_own_for_each_run(name):
    assert FOUND[name].timeout_seconds >= 3600
    assert FOUND[name].task_run_name


def test_all_stages_were_looked_at():
    assert {"ingest", "features", "train", "evaluate", "promote"} <= set(FOUND)
