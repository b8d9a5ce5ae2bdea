"""The direction of imports: widedeep ← tasks ← flows, and within the library never upward."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
WINGS = ("data", "features", "model", "evaluation", "serving")
PACKAGES = ("widedeep", "tasks", "flows")
SOURCES = [path for package in PACKAGES for path in (PROJECT / package).rglob("*.py")]


def imported(path):
    """Full names of the modules a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def name_of(path):
    return path.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_imports_only_what_stands_below_it(path):
    package = path.relative_to(PROJECT).parts[0]
    forbidden = {
        "widedeep": {"tasks", "flows", "prefect", "mlflow"},
        "tasks": {"flows"},
        "flows": set(),
    }[package]
    assert {name.split(".")[0] for name in imported(path)}.isdisjoint(forbidden)


@pytest.mark.parametrize("wing", WINGS)
def test_a_wing_stands_only_on_those_below_it(wing):
    above = WINGS[WINGS.index(wing) + 1 :]
    for path in (PROJECT / "widedeep" / wing).rglob("*.py"):
        names = set(imported(path))
        assert not {n for n in names for a in above if n.startswith(f"widedeep.{a}")}, path


def test_the_ground_floor_stands_on_no_wing():
    for path in (PROJECT / "widedeep").glob("*.py"):
        names = set(imported(path))
        assert not {n for n in names for w in WINGS if n.startswith(f"widedeep.{w}")}, path


def test_only_the_tracker_and_what_mlflow_or_a_fresh_process_executes_import_mlflow():
    users = {name_of(p) for p in SOURCES for n in imported(p) if n.split(".")[0] == "mlflow"}
    assert users == {"tasks/tracking.py", "tasks/served_model.py", "tasks/stranger.py"}


def test_only_the_stages_on_ray_import_ray_and_only_the_engine_loads_them():
    users = {name_of(p) for p in SOURCES for n in imported(p) if n.split(".")[0] == "ray"}
    assert users
    assert all(user.startswith("tasks/on_ray/") for user in users)
    askers = {name_of(p) for p in SOURCES for n in imported(p) if n.startswith("tasks.on_ray")}
    assert {a for a in askers if not a.startswith("tasks/on_ray/")} == {"tasks/engine.py"}


def printed(code):
    """What a fresh Python prints; it wastes no time on garbage among imports."""
    code = f"import gc, sys; gc.disable(); {code}; gc.freeze()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_nothing_loads_ray_unasked():
    assert (
        printed(
            "import flows.cli, flows.retrain, flows.deployments, flows.rank, flows.commands; "
            "print([m for m in sys.modules if m.split('.')[0] == 'ray' or 'on_ray' in m])"
        )
        == "[]"
    )


def test_a_command_explains_itself_before_anything_heavy_is_loaded():
    heavy = {"torch", "pandas", "pyarrow", "prefect", "mlflow"}
    assert printed(f"import flows.cli; print({heavy!r} & set(sys.modules))") == "set()"


def test_the_library_loads_neither_prefect_nor_mlflow():
    modules = [
        name_of(p).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for p in SOURCES
        if name_of(p).startswith("widedeep/")
    ]
    found = printed(
        f"import importlib; [importlib.import_module(m) for m in {modules!r}]; "
        "loaded = {m.split('.')[0] for m in sys.modules}; "
        "print(sorted(loaded & {'prefect', 'mlflow', 'flows', 'tasks'}))"
    )
    assert found == "[]"


def test_no_file_can_read_or_write_a_pickle():
    banned = {"pickle", "cloudpickle", "joblib", "torch.save", "torch.load"}
    for path in SOURCES:
        assert set(imported(path)).isdisjoint(banned), path
        text = path.read_text(encoding="utf-8")
        assert "torch.save(" not in text, path
        assert "torch.load(" not in text, path
