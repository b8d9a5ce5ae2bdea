"""The HTTP interface, used over a socket as a client would use it."""

import os
import time
from itertools import count
from math import inf, log
from threading import Thread

import pytest

from widedeep.decision_log import DecisionLog
from widedeep.serving.api import create_app
from widedeep.serving.middleware import RequestLimits
from widedeep.serving.model_answer import levels_of
from widedeep.serving.service import RankingService
from widedeep.serving.telemetry import Telemetry
from widedeep.workspace import Workspace

NEW_USERS = count(5_000_000)


@pytest.fixture(scope="module")
def shared(tmp_path_factory, versions, admit):
    """A service that several tests use, each with a new user."""
    service = RankingService(Workspace(tmp_path_factory.mktemp("home")), Telemetry())
    admit(service, versions[0])
    return service


@pytest.fixture(scope="module")
def client(shared, serve):
    with serve(create_app(shared)) as client:
        yield client


@pytest.fixture
def service(tmp_path, versions, admit):
    """A service that one test uses alone."""
    service = RankingService(Workspace(tmp_path), Telemetry())
    admit(service, versions[0])
    yield service
    service.close()


@pytest.fixture
def new_user():
    return next(NEW_USERS)


def error_of(answer):
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    error = answer.json()["error"]
    assert set(error) == {"type", "message"}
    return answer.status_code, error["type"]


def rate(client, user, item, value=10):
    return client.post("/feedback", json={"user": user, "item": item, "value": value})


def recommended(client, user, **query):
    answer = client.get(f"/recommend/{user}", params=query)
    assert answer.status_code == 200
    return answer.json()["items"]


def test_candidates_are_ranked_best_first_and_unknown_ids_are_scored_too(client):
    request = {"user": -3, "candidates": [10001, 10002, 10002, 7, 10003], "k": 3}
    answer = client.post("/rank", json=request).json()
    assert answer["model"] == {"name": "widedeep-sim-tiny", "version": "1"}
    scores = [item["probability"] for item in answer["items"]]
    assert scores == sorted(scores, reverse=True)
    assert len({item["item"] for item in answer["items"]}) == 3
    assert all(0 < score < 1 for score in scores)


CARD = {"item", "korean", "english", "attributes"}


def test_answers_have_exactly_the_fields_of_the_contract(client, new_user):
    feedback = rate(client, new_user, 10001).json()
    assert set(feedback) == {"user", "item", "value", "label", "time", "superseded"}
    rate(client, new_user, 10002)
    ranked = client.post("/rank", json={"user": new_user, "candidates": [10003]}).json()
    assert set(ranked) == {"model", "items"}
    assert set(ranked["model"]) == {"name", "version"}
    assert set(ranked["items"][0]) == {"item", "probability"}
    answer = client.get(f"/recommend/{new_user}", params={"explain": True}).json()
    assert set(answer) == {"model", "user", "items"}
    entry = answer["items"][0]
    assert set(entry) == {"item", "probability", "sources", "card", "why"}
    assert set(entry["card"]) == CARD
    why = entry["why"]
    assert set(why) == {"bias", "offset", "wide", "deep", "logit", "fired", "similar"}
    fired = [feature for item in answer["items"] for feature in item["why"]["fired"]]
    similar = [item for entry in answer["items"] for item in entry["why"]["similar"]]
    assert set(fired[0]) == {"block", "korean", "english", "weight"}
    assert set(similar[0]) == {"item", "korean", "english", "similarity"}
    user = client.get(f"/users/{new_user}").json()
    assert set(user) == {"user", "ratings"}
    assert set(user["ratings"][0]) == {"user", "item", "value", "label", "time", "card"}
    assert set(client.get("/items/10001").json()) == CARD
    assert set(client.get("/items", params={"q": "a"}).json()) == {"items"}
    assert set(client.get("/health").json()) == {"status", "model", "refused"}
    about = client.get("/model").json()
    parts = {"name", "version", "precision", "since", "promoted", "refused", "history", "data"}
    assert set(about) == parts | {"label", "positive_share", "levels"}


def test_a_rating_changes_the_list_at_once_and_is_seen_by_its_user(client, new_user):
    before = recommended(client, new_user, k=20)
    item = before[0]["item"]
    answer = rate(client, new_user, item)
    assert answer.status_code == 201
    assert answer.json()["superseded"] is False
    after = recommended(client, new_user, k=20)
    assert item not in {entry["item"] for entry in after}
    scores = {entry["item"]: entry["probability"] for entry in before}
    assert any(entry["probability"] != scores.get(entry["item"]) for entry in after)
    (rating,) = client.get(f"/users/{new_user}").json()["ratings"]
    assert (rating["item"], rating["value"]) == (item, 10)


def test_a_repeat_is_kept_and_said_to_be_superseded(client, new_user):
    assert rate(client, new_user, 10001, 9).json()["superseded"] is False
    answer = rate(client, new_user, 10001, 2)
    assert (answer.status_code, answer.json()["superseded"]) == (201, True)
    (rating,) = client.get(f"/users/{new_user}").json()["ratings"]
    assert rating["value"] == 9


def test_a_list_says_why_each_item_is_there(client, new_user):
    for item in (10001, 10002, 10003):
        rate(client, new_user, item)
    items = recommended(client, new_user, k=5, explain=True)
    for entry in items:
        why = entry["why"]
        parts = [why[name] for name in ("bias", "offset", "wide", "deep")]
        assert sum(parts) == pytest.approx(why["logit"], abs=1e-6)
        assert entry["sources"]
        assert entry["card"]["korean"]
        assert all(fired["weight"] for fired in why["fired"])
    assert any(entry["why"]["fired"] for entry in items)
    assert recommended(client, new_user, k=5)[0]["why"] is None


def test_a_list_for_children_has_no_item_for_adults(client, new_user):
    everyone = recommended(client, new_user, k=50)
    children = recommended(client, new_user, k=50, audience_age=12)
    assert grades_of(everyone) & {"청소년 관람불가", "R", "NR"}
    assert grades_of(children) <= {"전체 관람가", "12세 관람가", "G", "PG"}
    assert children


def grades_of(items):
    attributes = [attribute for item in items for attribute in item["card"]["attributes"]]
    return {a["korean"][0] for a in attributes if a["name"] == "grade"}


def test_items_are_found_in_both_languages(client):
    item = client.get("/items/10001").json()
    for title in (item["korean"], item["english"]):
        matches = client.get("/items", params={"q": title}).json()["items"]
        assert item in matches


def test_a_new_user_has_no_ratings(client):
    user = client.get("/new-user").json()["user"]
    assert client.get(f"/users/{user}").json() == {"user": user, "ratings": []}


@pytest.mark.parametrize(
    ("item", "more", "status"),
    [
        (404_404, {}, 404),
        (10001, {"time": 4_000_000_000}, 422),
        (10001, {"time": 600_000_000}, 422),
        (10001, {"value": 11}, 422),
        (10001, {"value": "10"}, 422),
        (10001, {"value": None}, 422),
        (10001, {"user": ""}, 422),
        (10001, {"user": "tab\tbed"}, 422),
        (2**63, {}, 404),
        (10001, {"surprise": 1}, 422),
    ],
)
def test_what_ingest_would_set_aside_is_not_taken(client, shared, item, more, status, new_user):
    logged = shared._log.path.read_text()
    request = {"user": new_user, "item": item, "value": 10, **more}
    assert error_of(client.post("/feedback", json=request))[0] == status
    assert shared._log.path.read_text() == logged


@pytest.mark.parametrize(
    ("method", "path", "error"),
    [
        ("GET", "/nothing", (404, "not_found")),
        ("GET", "/movies?q=a", (404, "not_found")),
        ("POST", "/ratings", (404, "not_found")),
        ("GET", "/items/404404", (404, "not_found")),
        ("DELETE", "/rank", (405, "method_not_allowed")),
        ("GET", f"/recommend/{'x' * 201}", (422, "invalid")),
        ("GET", "/recommend/1?context.device=mobile", (422, "invalid")),
        ("GET", "/recommend/1?k=0", (422, "invalid")),
        ("GET", "/recommend/1?k=101", (422, "invalid")),
        ("GET", "/items?q=", (422, "invalid")),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", (404, "not_found")),
        ("GET", "/page/app.js", (404, "not_found")),
    ],
)
def test_every_error_has_a_type(client, method, path, error):
    assert error_of(client.request(method, path)) == error


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"",
        b"\xff\x80",
        b'{"user": 1, "candidates": []}',
        b'{"user": NaN, "candidates": [1]}',
    ],
)
def test_a_body_of_another_form_is_refused(client, body):
    headers = {"content-type": "application/json"}
    answer = client.post("/rank", content=body, headers=headers)
    assert error_of(answer) == (422, "invalid")


def test_too_many_candidates_and_too_large_bodies_are_refused(client):
    request = {"user": 1, "candidates": list(range(1001))}
    assert error_of(client.post("/rank", json=request)) == (422, "invalid")
    request["candidates"] = [10**17] * 5000
    assert error_of(client.post("/rank", json=request)) == (413, "too_large")

    def chunks():
        for _ in range(100):
            yield b" " * 1000

    assert error_of(client.post("/rank", content=chunks())) == (413, "too_large")


def test_a_client_that_sends_too_many_requests_learns_when_to_try_again(service, serve):
    with serve(create_app(service, RequestLimits(per_second=0.5, burst=3))) as client:
        answers = [client.get("/health") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert error_of(answers[-1]) == (429, "too_many_requests")
    assert answers[-1].headers["retry-after"] == "2"


def test_a_disk_that_hangs_or_fails_is_reported(service, serve, monkeypatch, new_user):
    with serve(create_app(service, RequestLimits(seconds=0.2))) as client:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", lambda _: time.sleep(0.6))
            assert error_of(rate(client, new_user, 10001)) == (504, "timeout")
        time.sleep(0.6)

        def fail(file):
            raise OSError(5, "Input/output error", file)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            assert error_of(rate(client, new_user, 10002)) == (507, "storage")
        assert rate(client, new_user, 10003).status_code == 201
        rated = {rating["item"] for rating in client.get(f"/users/{new_user}").json()["ratings"]}
    assert 10002 not in rated


def test_an_internal_error_is_reported_without_details(service, serve, monkeypatch):
    with serve(create_app(service)) as client:
        monkeypatch.setattr(type(service), "refused", property(lambda _: 1 / 0))
        answer = client.get("/health")
    assert error_of(answer) == (500, "internal")
    assert "division" not in answer.text


def test_health_and_model_say_what_serves_and_why(service, serve, versions, tmp_path):
    decision = {
        "version": "1",
        "action": "promote",
        "reason": "better",
        "by": "me@here",
        "champion_version": "1",
        "replaced_version": None,
    }
    DecisionLog(tmp_path / "decisions" / versions[0].model).record(decision)
    service.refuse("3", "it is broken")
    with serve(create_app(service)) as client:
        health, model = (client.get(path).json() for path in ("/health", "/model"))
    assert (health["status"], health["model"]["version"]) == ("ok", "1")
    assert health["refused"]["reason"] == "it is broken"
    assert model["precision"] == service.serving.model.ranker.precision
    assert model["promoted"]["reason"] == "better"
    assert [version["version"] for version in model["refused"]] == ["3"]
    assert len(model["history"]) == 1
    assert model["promoted"]["by_hand"] is True


def test_a_decision_of_a_training_run_is_not_by_hand(service, serve, versions, tmp_path):
    log = DecisionLog(tmp_path / "decisions" / versions[0].model)
    log.record({"version": "1", "action": "promote", "reason": "better", "run_id": "f00"})
    with serve(create_app(service)) as client:
        assert [d["by_hand"] for d in client.get("/model").json()["history"]] == [False]


def test_the_label_is_told_and_the_share_of_positive_ratings(client, shared):
    about = client.get("/model").json()
    assert about["label"] == {"column": "rate", "at_least": 10, "equals": None}
    assert about["positive_share"] == shared.serving.model.transform.prior


def test_every_range_in_a_reason_has_a_level_and_levels_rise_with_the_ranges(client, new_user):
    levels = client.get("/model").json()["levels"]
    order = ["low", "average", "high"]
    for number, ranges in levels.items():
        ranks = [order.index(level) for level in ranges.values()]
        assert ranks == sorted(ranks), number
        assert len(set(ranks)) > 1, number
    rate(client, new_user, 10001)
    named = [
        phrase.partition(" ")
        for entry in recommended(client, new_user, k=20, explain=True)
        for fired in entry["why"]["fired"]
        for phrase in fired["english"].split(" x ")
    ]
    known = [(name, words) for name, _, words in named if name in levels]
    assert known
    assert all(words == "missing" or words in levels[name] for name, words in known)


def test_no_level_contradicts_what_is_usual(shared):
    transform = shared.serving.model.transform
    prior = transform.prior
    usual = {
        "expected_logit": log(prior / (1 - prior)),
        "mean_plus_residual": prior,
        "user_fast": 0,
        "item_short_mean": prior,
    }
    levels = levels_of(transform)
    assert usual.keys() <= levels.keys()
    for number, value in usual.items():
        ends = transform.normalisers[f"{number}_bucket"].boundaries.tolist()
        for level, low, high in zip(
            levels[number].values(), [-inf, *ends], [*ends, inf], strict=True
        ):
            assert level != "low" or high <= value, number
            assert level != "high" or low >= value, number


def test_metrics_count_answers_ratings_and_versions(service, serve, new_user):
    with serve(create_app(service)) as client:
        rate(client, new_user, 10001)
        recommended(client, new_user)
        client.get("/nothing")
        text = client.get("/metrics").text
    for line in (
        'widedeep_requests_total{method="POST",route="/feedback",status="201"} 1.0',
        'widedeep_requests_total{method="GET",route="unmatched",status="404"} 1.0',
        'widedeep_model_info{model="widedeep-sim-tiny",version="1"} 1.0',
        'widedeep_ratings_total{kind="new"} 1.0',
        "widedeep_flush_seconds_count 1.0",
        "widedeep_ranking_seconds_count 1.0",
        "widedeep_swaps_total 1.0",
    ):
        assert line in text, line


def test_without_a_champion_the_health_check_says_so_and_the_page_loads(tmp_path, serve, new_user):
    service = RankingService(Workspace(tmp_path), Telemetry())
    with serve(create_app(service)) as client:
        answer = client.get("/health")
        assert error_of(answer) == (503, "no_champion")
        assert "no champion yet" in answer.text
        assert error_of(rate(client, new_user, 10001)) == (503, "no_champion")
        assert client.get("/").status_code == 200
        assert client.get("/metrics").status_code == 200


def log_champion(home, model, version):
    decision = {"version": "1", "action": "hold", "reason": "", "champion_version": version}
    DecisionLog(home / "decisions" / model).record(decision)


@pytest.mark.parametrize("model", [None, "a"])
def test_a_champion_that_is_not_in_service_yet_is_being_loaded(tmp_path, serve, model, new_user):
    service = RankingService(Workspace(tmp_path), Telemetry(), model)
    log_champion(tmp_path, "a", "3")
    with serve(create_app(service)) as client:
        for answer in (client.get("/health"), rate(client, new_user, 10001)):
            assert error_of(answer) == (503, "loading")
            assert "version 3 is being loaded" in answer.text
        service.refuse("3", "it is broken")
        answer = client.get("/health")
    assert error_of(answer) == (503, "no_champion")
    assert "version 3 was refused: it is broken" in answer.text


def test_only_the_champion_of_the_model_that_is_to_serve_is_being_loaded(tmp_path, serve):
    log_champion(tmp_path, "a", None)
    log_champion(tmp_path, "b", "3")
    with serve(create_app(RankingService(Workspace(tmp_path), Telemetry(), "a"))) as client:
        answer = client.get("/health")
    assert error_of(answer) == (503, "no_champion")
    assert "widedeep retrain" not in answer.text


def test_the_page_may_load_nothing_from_elsewhere(client):
    scripts = ("/app.js", "/base.js", "/ratings.js", "/reasons.js", "/texts.js")
    for path in ("/", *scripts, "/style.css", "/icon.svg"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "https://" not in answer.text
        assert client.head(path).status_code == 200


def test_another_version_knows_every_rating_that_was_acknowledged(service, serve, versions, admit):
    """Ratings arrive while versions are swapped; each counts once in every version."""
    users, answers = range(6_000_000, 6_000_100), []
    with serve(create_app(service)) as client:

        def rate_all():
            answers.extend(rate(client, user, 10001 + user % 50).status_code for user in users)

        raters = Thread(target=rate_all)
        raters.start()
        for version in (versions[1], versions[0], versions[1]):
            admit(service, version)
        raters.join()
        assert client.get("/health").json()["model"]["version"] == "2"
    assert answers == [201] * len(users)
    model = service.serving.model
    for user in users:
        assert len(model.user_history.events(user)) == 1
        assert len(model.ranker.state.seen(user)) == 1


def test_a_restart_finds_all_ratings(service, serve, versions, tmp_path, new_user, admit):
    with serve(create_app(service)) as client:
        assert rate(client, new_user, 10001).status_code == 201
    restarted = RankingService(Workspace(tmp_path), Telemetry())
    admit(restarted, versions[1])
    with serve(create_app(restarted)) as client:
        (rating,) = client.get(f"/users/{new_user}").json()["ratings"]
        assert rating["item"] == 10001


def test_openapi_describes_every_answer(client):
    described = client.get("/openapi.json").json()
    assert "201" in described["paths"]["/feedback"]["post"]["responses"]
    for path, methods in described["paths"].items():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                assert "content" in answer, (path, status)
                schema = answer["content"].popitem()[1]["schema"]
                error = schema.get("$ref", "").endswith("ErrorAnswer")
                assert error == (int(status) >= 400), (path, status)
