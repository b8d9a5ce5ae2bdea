"""Which version serves: every move is recorded before it is made, and no model is guessed."""

import pytest
from mlflow import MlflowClient

from tasks.model_store import ChampionChangedError
from tasks.registry import OUTSIDE, Registry, choose_version
from widedeep.decision_log import DecisionLog
from widedeep.inputs import InputError

MODEL = "widedeep-test"


@pytest.fixture
def registry(workspace, store):
    return Registry(workspace, store, MODEL)


@pytest.fixture
def history(workspace):
    """The decisions of the model, as (action, version, champion, replaced)."""

    def read():
        names = ("action", "version", "champion_version", "replaced_version")
        decisions = workspace.decision_log(MODEL).history()
        return [tuple(decision[name] for name in names) for decision in decisions]

    return read


class Killed(BaseException):
    """The process died here."""


def killed(*_):
    raise Killed


def cut(monkeypatch, store, calls):
    """Die at the given call of MLflow's alias, counted from 1."""
    made, real = [], store._client.set_registered_model_alias

    def alias(*arguments):
        made.append(arguments)
        if len(made) == calls:
            raise Killed
        real(*arguments)

    monkeypatch.setattr(store._client, "set_registered_model_alias", alias)


def let_serve(registry, version, reason):
    registry.promote(registry.candidate(version, reason), reason)


def test_a_version_is_promoted_by_hand_and_rolled_back(registry, store, history):
    let_serve(registry, "1", "first")
    let_serve(registry, "2", "looks better")
    registry.roll_back("it was not")
    assert store.champion(MODEL).number == "1"
    assert store.previous(MODEL).number == "2"
    assert history() == [
        ("promote", "1", "1", None),
        ("promote", "2", "2", "1"),
        ("rollback", "1", "1", "2"),
    ]


def test_a_record_says_who_when_and_why(registry, workspace):
    let_serve(registry, "1", " because  ")
    (decision,) = workspace.decision_log(MODEL).history()
    assert decision["reason"] == "because"
    assert "@" in decision["by"]
    assert decision["at"].endswith("+00:00")


@pytest.mark.parametrize(
    ("version", "reason", "message"),
    [("9", "why", "no version '9'"), ("1", "why", "champion already"), ("2", "  ", "is empty")],
)
def test_what_cannot_be_promoted_is_said_and_changes_nothing(
    registry, store, history, version, reason, message
):
    let_serve(registry, "1", "first")
    with pytest.raises(InputError, match=message):
        let_serve(registry, version, reason)
    assert store.champion(MODEL).number == "1"
    assert len(history()) == 1


def test_there_is_nothing_to_roll_back_to_at_first(registry):
    let_serve(registry, "1", "first")
    with pytest.raises(InputError, match="no previous champion"):
        registry.roll_back("hm")


@pytest.mark.parametrize("calls", [1, 2])
def test_a_move_that_was_cut_off_is_finished_by_the_next(
    registry, store, history, monkeypatch, calls
):
    let_serve(registry, "1", "first")
    with monkeypatch.context() as patch:
        cut(patch, store, calls)
        with pytest.raises(Killed):
            let_serve(registry, "2", "better")
    assert store.champion(MODEL).number == "1"
    assert len(history()) == 1
    assert registry.champion().number == "2"
    assert store.previous(MODEL).number == "1"
    assert history()[-1] == ("promote", "2", "2", "1")


def test_a_move_that_was_made_but_not_noted_is_noted(registry, store, history, monkeypatch):
    let_serve(registry, "1", "first")
    with monkeypatch.context() as patch:
        patch.setattr(DecisionLog, "finish", killed)
        with pytest.raises(Killed):
            let_serve(registry, "2", "better")
    assert store.champion(MODEL).number == "2"
    assert registry.champion().number == "2"
    assert history()[-1] == ("promote", "2", "2", "1")


def test_a_champion_moved_in_mlflow_stays_and_is_recorded(registry, workspace, history):
    let_serve(registry, "1", "first")
    let_serve(registry, "2", "better")
    MlflowClient(workspace.tracking_uri).set_registered_model_alias(MODEL, "champion", "1")
    assert registry.champion().number == "1"
    assert registry.champion().number == "1"
    assert history()[2:] == [(OUTSIDE, "1", "1", "2")]


def test_a_stale_evaluation_promotes_nothing(registry, store, history, version):
    let_serve(registry, "1", "first")
    decision = {"version": "3", "action": "promote", "reason": "measured against version 2"}
    with pytest.raises(ChampionChangedError):
        registry.decide(decision, version("2"), version("3"))
    assert store.champion(MODEL).number == "1"
    assert len(history()) == 1


def test_a_decision_that_moves_nothing_is_recorded_with_what_serves(registry, history, version):
    let_serve(registry, "1", "first")
    decision = {"version": "2", "action": "hold", "reason": "worse"}
    assert registry.decide(decision, version("1"), None) == version("1")
    assert history()[-1] == ("hold", "2", "1", "1")


def test_the_only_model_need_not_be_named(registry, workspace):
    let_serve(registry, "2", "first")
    for version in ("champion", "2"):
        chosen = choose_version(workspace, None, version)
        assert (chosen.model, chosen.version.number) == (MODEL, "2")
        assert chosen.title == f"{MODEL} version 2"


def test_an_unknown_model_or_version_is_refused(registry, workspace):
    let_serve(registry, "1", "first")
    with pytest.raises(InputError, match=f"no model 'widedeep-two'; there are: {MODEL}"):
        choose_version(workspace, "widedeep-two", "champion")
    for version in ("9", "previous", "best"):
        with pytest.raises(InputError, match=f"has no version '{version}'"):
            choose_version(workspace, None, version)


def test_of_several_models_one_must_be_named(registry, workspace):
    let_serve(registry, "1", "first")
    MlflowClient(workspace.tracking_uri).create_registered_model("widedeep-other")
    with pytest.raises(InputError, match=f"name one by --model: widedeep-other, {MODEL}"):
        choose_version(workspace, None, "champion")
    assert choose_version(workspace, MODEL, "champion").model == MODEL
