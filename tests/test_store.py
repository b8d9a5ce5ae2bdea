"""An artefact is there whole or not at all, and the same work is found again."""

import os
import signal
import subprocess
import sys

import pytest

from widedeep.store import Artifact, ArtifactStore, code_version, content_id

KEY = {"files": {"rates.csv": "abc"}, "seed": 1}


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "stages")


def build(folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "table.txt").write_text("rows", encoding="utf-8")
    return {"rows": 1}


def test_the_same_key_finds_the_finished_artefact(store):
    first = store.get("features", KEY, build)

    def forbidden(_):
        raise AssertionError("built twice")

    assert store.get("features", dict(reversed(KEY.items())), forbidden) == first
    assert first.summary == {"rows": 1}
    assert (first.path / "inner" / "table.txt").read_text(encoding="utf-8") == "rows"


def test_another_key_or_kind_is_another_artefact(store):
    first = store.get("features", KEY, build)
    assert store.find("models", KEY) is None
    assert store.find("features", KEY | {"seed": 2}) is None
    assert content_id(KEY | {"seed": 2}) != first.id


def test_a_failing_builder_leaves_nothing(store):
    def failing(folder):
        build(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.get("features", KEY, failing)
    assert store.find("features", KEY) is None
    assert not list((store.root / "drafts").iterdir())


def test_a_killed_builder_leaves_a_draft_that_is_swept_and_never_found(store):
    code = (
        "import os, signal, pathlib; from widedeep.artifact_store import ArtifactStore\n"
        "def build(folder):\n"
        "    (folder / 'half.txt').write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        f"ArtifactStore(pathlib.Path({str(store.root)!r})).get('features', {KEY!r}, build)"
    )
    died = subprocess.run([sys.executable, "-c", code], check=False)
    assert died.returncode == -signal.SIGKILL
    assert store.find("features", KEY) is None
    assert list((store.root / "drafts").iterdir())
    store.sweep()
    assert not (store.root / "drafts").exists()


def test_a_truncated_file_is_reported_and_not_used(store):
    artifact = store.get("features", KEY, build)
    os.truncate(artifact.path / "inner" / "table.txt", 2)
    with pytest.raises(OSError, match=r"table\.txt: 2 bytes found, 4 bytes written"):
        Artifact.load(artifact.path)


def test_two_builders_of_one_key_agree_on_the_first(store):
    with store.draft("features") as one, store.draft("features") as other:
        for draft in (one, other):
            build(draft.path)
        first = one.finish(KEY, {"rows": 1})
        assert other.finish(KEY, {"rows": 2}) == first


def test_the_code_version_covers_the_named_wings_only():
    assert code_version("data") != code_version("data", "features")
    assert code_version("data") == code_version("data")
