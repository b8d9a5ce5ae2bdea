"""The registry: read plainly, written by comparing and setting."""

import pytest
import sqlalchemy.exc
from mlflow import MlflowClient

from tasks.tracking import ChampionChangedError, Tracker
from widedeep.home import Home
from widedeep.model.version import ModelVersion

MODEL = "widedeep-test"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def tracker(home):
    """A registry with three versions of one model, each with files."""
    tracker = Tracker(home)
    client = MlflowClient(home.tracking_uri)
    client.create_registered_model(MODEL)
    for number in ("1", "2", "3"):
        folder = home.root / "models" / number
        (folder / "artifacts" / f"id{number}").mkdir(parents=True)
        (folder / "MLmodel").write_text("flavors: {}\n", encoding="utf-8")
        client.create_model_version(
            MODEL, folder.as_uri(), tags={"widedeep.model_id": f"id{number}"}
        )
    return tracker


def version(home, number):
    path = home.root / "models" / number / "artifacts" / f"id{number}"
    return ModelVersion(number, f"id{number}", path)


def test_no_model_and_no_alias_mean_no_champion(home, tracker):
    assert Tracker(home).champion("widedeep-other") is None
    assert tracker.champion(MODEL) is None


def test_a_broken_database_is_not_taken_for_no_champion(home, tracker):
    (home.root / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises((Exception, sqlalchemy.exc.DatabaseError), match="not a database"):
        tracker.champion(MODEL)


def test_promotion_moves_previous_and_champion(home, tracker):
    tracker.promote(MODEL, "1", replacing=None)
    tracker.promote(MODEL, "2", replacing=version(home, "1"))
    assert tracker.champion(MODEL) == version(home, "2")
    assert tracker.previous(MODEL) == version(home, "1")


def test_a_champion_that_changed_meanwhile_is_not_overwritten(home, tracker):
    tracker.promote(MODEL, "1", replacing=None)
    tracker.promote(MODEL, "3", replacing=version(home, "1"))
    with pytest.raises(ChampionChangedError, match="version 2 was not promoted"):
        tracker.promote(MODEL, "2", replacing=version(home, "1"))
    assert tracker.champion(MODEL) == version(home, "3")
