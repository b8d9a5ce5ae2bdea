"""New files are announced once, when they have come to rest; prefect.yaml is generated."""

from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client

import flows
from flows.deployments import (
    FORMER_NAMES,
    FolderWatch,
    all_deployments,
    main,
    remove_deployments,
)

PROJECT = Path(flows.__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "rates.csv").write_text("1,2\n", encoding="utf-8")
    return data


@pytest.fixture
def watch(folder, tmp_path):
    watch = FolderWatch(folder, tmp_path / "memory" / "data.json")
    assert not watch.look(), "what is there at first is not news"
    return watch


def test_an_unchanged_folder_is_not_announced(watch):
    assert not any(watch.look() for _ in range(3))


def test_a_new_file_is_announced_once_it_no_longer_changes(watch, folder):
    (folder / "rates-2.csv").write_text("3,4\n", encoding="utf-8")
    assert not watch.look(), "it may still be written"
    (folder / "rates-2.csv").write_text("3,4\n5,6\n", encoding="utf-8")
    assert not watch.look()
    assert watch.look()
    assert not watch.look()


@pytest.mark.parametrize("spoil", ["change", "remove"])
def test_a_changed_or_removed_file_is_announced(watch, folder, spoil):
    if spoil == "change":
        (folder / "rates.csv").write_text("1,2\n7,8\n", encoding="utf-8")
    else:
        (folder / "rates.csv").unlink()
    assert [watch.look(), watch.look()] == [False, True]


def test_what_came_while_nothing_watched_is_announced(watch, folder):
    (folder / "rates-2.csv").write_text("3,4\n", encoding="utf-8")
    later = FolderWatch(folder, watch.memory)
    assert [later.look(), later.look(), later.look()] == [False, True, False]


def test_prefect_yaml_is_what_the_code_declares(capsys):
    assert main(["--prefect-yaml"]) == 0
    assert capsys.readouterr().out == (PROJECT / "prefect.yaml").read_text(encoding="utf-8")


def test_every_deployment_is_offered_under_its_name():
    names = [(deployment.flow.name, deployment.name) for deployment in all_deployments()]
    assert names == [
        ("retrain", "scheduled"),
        ("retrain", "on-new-data"),
        ("replay", "backfill"),
        ("tune", "search"),
        ("promote", "promote-by-hand"),
        ("rollback", "rollback-by-hand"),
    ]
    assert len({name for _, name in names}) == len(names), "the UI lists them by this name"
    project = yaml.safe_load((PROJECT / "prefect.yaml").read_text(encoding="utf-8"))
    assert [offered["name"] for offered in project["deployments"]] == [name for _, name in names]
    for deployment in all_deployments():
        file, _, function = deployment.entrypoint.partition(":")
        assert f"def {function}(" in (PROJECT / file).read_text(encoding="utf-8")
        assert deployment.description


def test_a_deployment_that_has_another_name_now_is_no_longer_offered(prefect_server):
    del prefect_server
    with get_client(sync_client=True) as client:
        for name in FORMER_NAMES:
            flow, _, deployment = name.partition("/")
            client.create_deployment(client.create_flow_from_name(flow), deployment)
        other = client.create_deployment(client.create_flow_from_name("promote"), "of a user")
        remove_deployments(FORMER_NAMES)
        remove_deployments(FORMER_NAMES)
        assert [each.id for each in client.read_deployments()].count(other) == 1
        left = {each.name for each in client.read_deployments()}
    assert "manual" not in left
