"""The cache of compiled code: another process loads from it, and a changed source starts anew."""

import importlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numba.core.registry import CPUDispatcher

import widedeep
from widedeep import compiled
from widedeep.compiled import cache_folder, digested_modules, source_digest

LIBRARY = Path(widedeep.__file__).parent
CALLEE = """
from widedeep.compiled import compiled
from widedeep.constants import ADDED


@compiled
def add(number):
    return number + ADDED + {more}
"""
CALLER = """
import sys
from widedeep.callee import add
from widedeep.compiled import compiled


@compiled
def add_twice(number):
    return add(add(number))


if __name__ == "__main__":
    from widedeep import caller

    stats = caller.add_twice.stats
    result = caller.add_twice(int(sys.argv[1]))
    print(result, sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""


class Package:
    """A library with compiled code in two files and a constant in a third."""

    def __init__(self, folder):
        self.folder = folder
        self.package = folder / "widedeep"
        self.package.mkdir()
        (self.package / "__init__.py").touch()
        shutil.copy(LIBRARY / "compiled.py", self.package)
        self.write(added=1, more=0)
        (self.package / "caller.py").write_text(CALLER)
        (self.package / "other.py").write_text("OTHER = 1\n")

    def write(self, added, more):
        (self.package / "constants.py").write_text(f"ADDED = {added}\n")
        (self.package / "callee.py").write_text(CALLEE.format(more=more))

    def run(self, **environment):
        """Result, loads from the cache and compilations of `add_twice` in a new process."""
        environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"} | environment
        process = self.start(environment)
        output, _ = process.communicate()
        assert process.returncode == 0
        return tuple(map(int, output.split()))

    def start(self, environment):
        command = [sys.executable, "-m", "widedeep.caller", "10"]
        return subprocess.Popen(
            command,
            env={**environment, "PYTHONPATH": str(self.folder)},
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def digest(self):
        return source_digest(self.package)


@pytest.fixture
def package(tmp_path):
    return Package(tmp_path)


def test_a_second_process_loads_what_the_first_one_compiled(package):
    assert package.run() == (12, 0, 1)
    assert package.run() == (12, 1, 0)


def test_a_change_of_a_callee_or_a_constant_in_another_file_is_compiled_in(package):
    assert package.run()[0] == 12
    package.write(added=1, more=5)
    assert package.run()[0] == 22
    package.write(added=2, more=5)
    assert package.run()[0] == 24
    assert len(list((package.package / "__pycache__").glob("widedeep-*"))) == 3


@pytest.mark.parametrize("changed", ["callee.py", "caller.py", "constants.py", "compiled.py"])
def test_a_changed_source_of_compiled_code_has_another_digest(package, changed):
    before, path = package.digest, package.package / changed
    path.write_text(path.read_text() + "\n# changed\n")
    assert package.digest != before
    assert len(package.digest) == len(before) == 16


def test_a_changed_source_without_compiled_code_keeps_the_digest(package):
    before = package.digest
    (package.package / "other.py").write_text("OTHER = 2\n")
    (package.package / "new.py").touch()
    assert package.digest == before


def test_the_cache_lies_where_the_user_says(package, tmp_path):
    folder = tmp_path / "mine"
    package.run(NUMBA_CACHE_DIR=str(folder))
    assert [path.name for path in folder.iterdir()] == [f"widedeep-{package.digest}"]
    assert package.run(NUMBA_CACHE_DIR=str(folder)) == (12, 1, 0)


def test_a_library_that_cannot_be_written_to_caches_in_the_users_folder(package, tmp_path):
    (package.package / "__pycache__").write_text("no folder can be made here")
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    package.run(**home)
    assert (tmp_path / "cache" / "widedeep" / f"widedeep-{package.digest}").is_dir()
    assert package.run(**home) == (12, 1, 0)


def test_without_any_writable_folder_each_process_compiles(package, tmp_path):
    for path in (package.package / "__pycache__", tmp_path / "cache"):
        path.write_text("no folder can be made here")
    for _ in range(2):
        assert package.run(XDG_CACHE_HOME=str(tmp_path / "cache")) == (12, 0, 1)


def test_processes_that_start_at_once_share_a_cache(package):
    started = [package.start(os.environ) for _ in range(4)]
    assert {process.communicate()[0].split()[0] for process in started} == {"12"}
    assert {process.returncode for process in started} == {0}
    assert package.run() == (12, 1, 0)


def test_only_old_folders_of_other_sources_are_removed(tmp_path):
    hour = 3600
    for number in range(8):
        folder = tmp_path / f"widedeep-{number}"
        folder.mkdir()
        os.utime(folder, (time.time() - number * hour / 2,) * 2)
    (tmp_path / "other-library").mkdir()
    current = tmp_path / "widedeep-7"

    compiled._remove_stale(current)

    names = {path.name for path in tmp_path.iterdir()}
    # Of the others the four latest, and the current one although it is the oldest.
    assert names == {"other-library", *(f"widedeep-{number}" for number in (0, 1, 2, 3, 4, 7))}


def compiled_functions():
    """All functions of the library that numba compiles, the lambdas of the history's table too."""
    for path in LIBRARY.rglob("*.py"):
        name = ".".join(path.relative_to(LIBRARY.parent).with_suffix("").parts)
        importlib.import_module(name.removesuffix(".__init__"))
    modules = [module for name, module in sys.modules.items() if name.startswith("widedeep.")]
    waiting = [x for module in modules for x in vars(module).values() if is_compiled(x)]
    functions = {}
    while waiting:
        function = waiting.pop().py_func
        if id(function) not in functions:
            functions[id(function)] = function
            waiting += [x for x in named_by(function) if is_compiled(x)]
    return functions.values()


def is_compiled(thing):
    return issubclass(type(thing), CPUDispatcher)


def named_by(function):
    """The globals that a function names."""
    return [function.__globals__.get(name) for name in function.__code__.co_names]


def test_the_digest_covers_every_function_that_numba_compiles():
    """And the classes and other functions that those name."""
    digested, functions = digested_modules(LIBRARY).keys(), compiled_functions()
    modules = {function.__module__ for function in functions}
    for thing in (thing for function in functions for thing in named_by(function)):
        if isinstance(thing, ModuleType):
            modules.add(thing.__name__)
        elif isinstance(thing, type) or is_compiled(thing):
            modules.add(thing.__module__)
    assert {"widedeep.features.history.user_numbers", "widedeep.model.ftrl"} <= modules
    assert {module for module in modules if module and module.startswith("widedeep")} <= digested


def test_numba_keeps_its_own_setting_for_other_libraries():
    import numba

    assert cache_folder() is not None
    assert str(cache_folder()) != numba.config.CACHE_DIR


def test_a_division_by_zero_raises_unless_numpys_error_model_is_chosen():
    @compiled.compiled
    def ratio(a, b):
        return a / b

    @compiled.compiled(error_model="numpy")
    def numpy_ratio(a, b):
        return a / b

    assert ratio(3.0, 2.0) == numpy_ratio(3.0, 2.0) == 1.5
    assert np.isinf(numpy_ratio(1.0, 0.0))
    with pytest.raises(ZeroDivisionError):
        ratio(1.0, 0.0)


def test_parts_of_compiled_functions_may_be_closures():
    def plus(added):
        return compiled.inlined(lambda number: number + added)

    @compiled.embedded
    def three_more(number):
        return one_more(two_more(number))

    one_more, two_more = plus(1), plus(2)

    @compiled.borrowing
    def add_three(number):
        return three_more(number)

    assert add_three(4) == 7
