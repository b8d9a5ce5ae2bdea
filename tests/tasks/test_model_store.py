"""The registry: read plainly, written by comparing and setting."""

import pytest
import sqlalchemy.exc

from tasks.model_store import ChampionChangedError, ModelStore

MODEL = "widedeep-test"


def test_no_model_and_no_alias_mean_no_champion(workspace, store):
    assert ModelStore(workspace).champion("widedeep-other") is None
    assert store.champion(MODEL) is None


def test_a_broken_database_is_not_taken_for_no_champion(workspace, store):
    (workspace.root / "mlflow.db").write_bytes(b"no database" * 1000)
    with pytest.raises((Exception, sqlalchemy.exc.DatabaseError), match="not a database"):
        store.champion(MODEL)


def test_promotion_moves_previous_and_champion(store, version):
    store.promote(MODEL, "1", replacing=None)
    store.promote(MODEL, "2", replacing=version("1"))
    assert store.champion(MODEL) == version("2")
    assert store.previous(MODEL) == version("1")


def test_a_champion_that_changed_meanwhile_is_not_overwritten(store, version):
    store.promote(MODEL, "1", replacing=None)
    store.promote(MODEL, "3", replacing=version("1"))
    with pytest.raises(ChampionChangedError, match="the champion is version 3, expected version 1"):
        store.promote(MODEL, "2", replacing=version("1"))
    assert store.champion(MODEL) == version("3")
