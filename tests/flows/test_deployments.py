"""New files are told once, when they have come to rest, however often the watch was restarted."""

import pytest

from flows.deployments import FolderWatch


@pytest.fixture
def folder(tmp_path):
    found = tmp_path / "data"
    found.mkdir()
    (found / "rates.csv").write_text("1,2\n", encoding="utf-8")
    return found


@pytest.fixture
def watch(folder, tmp_path):
    found = FolderWatch(folder, tmp_path / "memory" / "data.json")
    assert not found.look(), "what is there at first is not news"
    return found


def test_nothing_new_is_not_told(watch):
    assert not any(watch.look() for _ in range(3))


def test_a_new_file_is_told_once_it_rests(watch, folder):
    (folder / "rates-2.csv").write_text("3,4\n", encoding="utf-8")
    assert not watch.look(), "it may still be written"
    (folder / "rates-2.csv").write_text("3,4\n5,6\n", encoding="utf-8")
    assert not watch.look()
    assert watch.look()
    assert not watch.look()


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_changed_or_removed_file_is_told(watch, folder, spoil):
    if spoil == "change":
        (folder / "rates.csv").write_text("1,2\n7,8\n", encoding="utf-8")
    else:
        (folder / "rates.csv").unlink()
    assert [watch.look(), watch.look()] == [False, True]


def test_what_came_while_nobody_watched_is_told(watch, folder):
    (folder / "rates-2.csv").write_text("3,4\n", encoding="utf-8")
    later = FolderWatch(folder, watch.memory)
    assert [later.look(), later.look(), later.look()] == [False, True, False]
