"""The layout: widedeep ← tasks ← flows, wings that import downwards only, and few, full rooms."""

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGES = ("widedeep", "tasks", "flows")
SOURCES = [path for package in PACKAGES for path in (PROJECT / package).rglob("*.py")]

BELOW = {
    "data": set(),
    "features": {"data"},
    "out_of_core": {"data", "features"},
    "model": {"data", "features"},
    "evaluation": {"data", "features", "model"},
    "studies": {"data", "features", "model", "evaluation"},
    "retrieval": {"data", "features", "model", "evaluation"},
    "serving": {"data", "features", "model", "evaluation", "retrieval"},
}
"""The wings of the library, and for each wing those it may import."""

MOST_FILES = 20
MOST_IMPORTS = 28
"""Internal imports per 1,000 lines."""


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path):
    """Yield the full names of everything a file imports: modules, and names in modules."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offered(stub):
    """Yield the modules from which a package's face (`__init__.pyi`) imports names on demand."""
    package = ".".join(stub.parent.relative_to(PROJECT).parts)
    for node in tree_of(stub).body:
        if isinstance(node, ast.ImportFrom):
            yield f"{package}.{node.module}"


def name_of(path):
    return path.relative_to(PROJECT).as_posix()


def module_of(path):
    return name_of(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def wing_of(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "widedeep" and len(parts) > 1 and parts[1] in BELOW else None


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_imports_only_what_stands_below_it(path):
    package = path.relative_to(PROJECT).parts[0]
    forbidden = {
        "widedeep": {"tasks", "flows", "prefect", "mlflow"},
        "tasks": {"flows"},
        "flows": set(),
    }[package]
    assert {name.split(".")[0] for name in imported(path)}.isdisjoint(forbidden)


def test_every_folder_of_the_library_is_a_wing():
    folders = {path.name for path in (PROJECT / "widedeep").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(BELOW)


@pytest.mark.parametrize("wing", BELOW)
def test_a_wing_imports_only_wings_below_it(wing):
    for path in (PROJECT / "widedeep" / wing).rglob("*.py"):
        wings = {wing_of(name) for name in imported(path)} - {None, wing}
        assert wings <= BELOW[wing], path


def test_the_ground_floor_imports_no_wing():
    for path in (PROJECT / "widedeep").glob("*.py"):
        if path.name != "__init__.py":  # the public face names what users need of every wing
            assert not {wing_of(name) for name in imported(path)} - {None}, path


def test_no_files_import_each_other_in_a_circle():
    graph = {
        module: {name for name in imported(path) if name in MODULES and name != module}
        for module, path in MODULES.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_folders_and_imports_stay_few():
    files = Counter(path.parent for path in SOURCES)
    assert max(files.values()) <= MOST_FILES, files.most_common(1)
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES)
    statements = [
        node
        for path in SOURCES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] in PACKAGES
    ]
    assert 1000 * len(statements) / lines <= MOST_IMPORTS


STARTED_BY_NAME = {
    "flows.cli",  # the console command
    "flows.deployments",  # a process of `widedeep up`
    "flows.prefect_server",  # likewise
    "tasks.champion_watcher_worker",  # a process of `widedeep serve`
    "tasks.dry_run_worker",  # a process of a retrain
    "tasks.served_model",  # executed by MLflow
}


def test_every_file_is_used_by_the_product_itself():
    used = {name for path in SOURCES for name in imported(path)} | STARTED_BY_NAME
    used |= {
        name for stub in (PROJECT / "widedeep" / "features").glob("*.pyi") for name in offered(stub)
    }
    packages = {module_of(p) for p in SOURCES if p.name == "__init__.py"}
    assert set(MODULES) - used - packages == set()


def test_only_tracking_the_model_store_and_what_mlflow_or_a_fresh_process_executes_import_mlflow():
    users = {name_of(p) for p in SOURCES for n in imported(p) if n.split(".")[0] == "mlflow"}
    assert users == {
        "tasks/dry_run_worker.py",
        "tasks/model_store.py",
        "tasks/served_model.py",
        "tasks/tracking.py",
    }


def test_only_the_stages_on_ray_import_ray_and_only_the_engine_loads_them():
    users = {name_of(p) for p in SOURCES for n in imported(p) if n.split(".")[0] == "ray"}
    assert users
    assert all(user.startswith("tasks/on_ray/") for user in users)
    askers = {name_of(p) for p in SOURCES for n in imported(p) if n.startswith("tasks.on_ray")}
    assert {a for a in askers if not a.startswith("tasks/on_ray/")} == {"tasks/engine.py"}


def test_the_library_does_not_import_what_works_out_of_core():
    for path in (PROJECT / "widedeep").rglob("*.py"):
        if "out_of_core" not in path.parts:
            assert "out_of_core" not in {wing_of(name) for name in imported(path)}, path


def printed(code):
    """Return what a fresh Python prints; it spends no time on collecting garbage of imports."""
    code = f"import gc, sys; gc.disable(); {code}; gc.freeze()"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return process.stdout.strip()


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
    modules = [module for module in MODULES if module.split(".")[0] == "widedeep"]
    loaded = printed(
        f"import importlib; [importlib.import_module(m) for m in {modules!r}]; "
        "loaded = {m.split('.')[0] for m in sys.modules}; "
        "print(sorted(loaded & {'prefect', 'mlflow', 'flows', 'tasks'}))"
    )
    assert loaded == "[]"


def test_no_file_can_read_or_write_a_pickle():
    banned = {"pickle", "cloudpickle", "joblib", "torch.save", "torch.load"}
    for path in SOURCES:
        assert set(imported(path)).isdisjoint(banned), path
        text = path.read_text(encoding="utf-8")
        assert "torch.save(" not in text, path
        assert "torch.load(" not in text, path


KMRD_WORDS = re.compile(
    r"title_eng|rates\b.*\.csv|movies\.txt|castings|peoples|\b(movie|grade|leading)\b"
)
"""Files and columns of KMRD. The other columns have names that any data set may have."""

KNOW_KMRD = ("data/download.py", "data/simulator/items.py", "data/simulator/write.py")
RECOGNISE_FORMS = ("data/describe.py", "data/profile/", "data/feedback_log.py")


def test_kmrd_is_one_dataset_toml_and_its_downloader():
    """Its columns stand in `kmrd.toml`; its files, besides, where data are made or recognised."""
    spec = (PROJECT / "widedeep" / "data" / "kmrd.toml").read_text(encoding="utf-8")
    assert all(word in spec for word in ("title_eng", "castings", "grade", "leading"))
    allowed = tuple(f"widedeep/{name}" for name in (*KNOW_KMRD, *RECOGNISE_FORMS))
    found = [
        f"{name_of(path)}:{node.lineno}: {node.value}"
        for path in SOURCES
        if not name_of(path).startswith(allowed)
        for node in texts_of(path)
        if KMRD_WORDS.search(node.value)
    ]
    assert found == []


def texts_of(path):
    """Yield the strings of a file that are no docstrings."""
    nodes = [*ast.walk(tree_of(path))]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    for node in nodes:
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node
