"""An artefact exists completely or not at all, and the same work is found again."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from widedeep import store as store_module
from widedeep.store import Artifact, ArtifactStore, atomic_write, code_version, content_id

KEY = {"files": {"rates.csv": "abc"}, "seed": 1}


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "stages")


def build(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "table.txt").write_text("rows", encoding="utf-8")
    return {"rows": 1}


def test_the_same_key_finds_the_finished_artefact(store):
    first = store.get_or_build("features", KEY, build)

    def forbidden(_):
        raise AssertionError("built twice")

    assert store.get_or_build("features", dict(reversed(KEY.items())), forbidden) == first
    assert first.summary == {"rows": 1}
    assert (first.path / "inner" / "table.txt").read_text(encoding="utf-8") == "rows"


def test_another_key_or_kind_is_another_artefact(store):
    first = store.get_or_build("features", KEY, build)
    assert store.find("models", KEY) is None
    assert store.find("features", KEY | {"seed": 2}) is None
    assert content_id(KEY | {"seed": 2}) != first.id


def test_a_failing_builder_leaves_nothing(store):
    def failing(folder):
        build(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.get_or_build("features", KEY, failing)
    assert store.find("features", KEY) is None
    assert not list((store.root / "drafts").iterdir())


def test_a_killed_builder_leaves_a_draft_that_is_removed_and_never_found(store):
    code = (
        "import os, signal, pathlib; from widedeep.store import ArtifactStore\n"
        "def build(folder):\n"
        "    (folder / 'half.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"ArtifactStore(pathlib.Path({str(store.root)!r})).get_or_build('features', {KEY!r}, build)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert store.find("features", KEY) is None
    assert list((store.root / "drafts").iterdir())
    store.remove_drafts()
    assert not (store.root / "drafts").exists()


def test_a_truncated_file_is_reported_and_not_used(store):
    artifact = store.get_or_build("features", KEY, build)
    os.truncate(artifact.path / "inner" / "table.txt", 2)
    with pytest.raises(OSError, match=r"table\.txt has 2 bytes, expected 4"):
        Artifact.load(artifact.path)


def test_two_builders_of_one_key_agree_on_the_first(store):
    with store.draft("features") as earlier, store.draft("features") as later:
        for draft in (earlier, later):
            build(draft.path)
        first = earlier.finish(KEY, {"rows": 1})
        assert later.finish(KEY, {"rows": 2}) == first


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of the library's folders with one file each, from which `code_version` is computed."""
    names = ("", *(name for level in store_module._WINGS for name in level))
    for name in names:
        (tmp_path / "widedeep" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "widedeep" / name / "code.py").write_text(name)
    monkeypatch.setattr(store_module, "__file__", str(tmp_path / "widedeep" / "store.py"))
    code_version.cache_clear()
    yield tmp_path / "widedeep"
    code_version.cache_clear()


ALL_WINGS = {
    "data", "features", "out_of_core", "model", "evaluation", "studies", "retrieval", "serving"
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "affected"),
    [
        ("", ALL_WINGS),
        ("data", ALL_WINGS),
        ("out_of_core", ALL_WINGS - {"data"}),
        ("model", ALL_WINGS - {"data", "features", "out_of_core"}),
        ("studies", {"studies", "retrieval", "serving"}),
        ("serving", {"serving"}),
    ],
)
def test_the_code_version_covers_the_named_wing_and_those_below_it(package, changed, affected):
    before = {wing: code_version(wing) for wing in ALL_WINGS}
    (package / changed / "code.py").write_text("changed")
    code_version.cache_clear()
    assert {wing for wing in ALL_WINGS if code_version(wing) != before[wing]} == affected


def test_the_code_version_knows_every_wing():
    folders = Path(store_module.__file__).parent.iterdir()
    assert {path.name for path in folders if (path / "__init__.py").exists()} == ALL_WINGS


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("old")

    def fail():
        with atomic_write(path) as draft:
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "old"
    with atomic_write(path) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
