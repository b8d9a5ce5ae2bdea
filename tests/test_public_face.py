"""`import widedeep`: the names it offers, and the example of its description."""

import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import widedeep
from widedeep.data.dataset_file import KMRD_SPEC

EXAMPLE = dedent(widedeep.__doc__[widedeep.__doc__.index("    store, spec =") :])


def test_every_name_is_there_and_described():
    assert 15 <= len(widedeep.__all__) <= 25
    assert all(getattr(widedeep, name).__doc__ for name in widedeep.__all__)


def test_the_import_itself_loads_nothing_heavy():
    code = "import sys, widedeep; print({'torch', 'pandas', 'numba', 'pyarrow'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert output.strip() == "set()"


def test_the_example_trains_a_model_and_measures_it(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(KMRD_SPEC, tiny / "dataset.toml")
    names = {"folder": tiny, "Path": Path, "time": __import__("time"), "widedeep": widedeep}
    exec(EXAMPLE, names)  # noqa: S102  our own example
    *epochs, auc = capsys.readouterr().out.split("\n")[:-1]
    assert len(epochs) >= 2
    assert 0 < float(auc) < 1
