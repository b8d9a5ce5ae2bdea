"""Headlines and model cards carry the numbers of both models, the decision and the limits."""

from widedeep.evaluation.report import (
    HEADLINES,
    ModelCard,
    difference_text,
    headlines,
    markdown_table,
    opponent_name,
    write_csv,
)

MEASURED = {
    "streaming": {"auc": 0.82, "log_loss": 0.46, "ece": 0.01},
    "frozen": {"auc": 0.75, "log_loss": 0.5, "gauc": None, "ndcg_at_10": 0.9},
}
LISTS = {"coverage": 0.43, "gini": 0.71, "overlap": 0.6, "novelty": 5.25}
EVALUATION = {
    "lists": {"challenger": LISTS, "champion": None, "baseline": {**LISTS, "overlap": None}},
    "challenger": MEASURED,
    "champion": None,
    "baseline": MEASURED,
    "difference": {"auc": {"difference": 0.01, "low": -0.002, "high": 0.022}},
    "challenger_slices": {
        "new_user": {"rows": 1234, "streaming": {"auc": None}, "frozen": {"auc": 0.6}}
    },
}


def card(**more):
    evaluation = {**EVALUATION, **more}
    if more.get("champion"):
        evaluation["lists"] = {**EVALUATION["lists"], "champion": {**LISTS, "overlap": 0.75}}
    return ModelCard("m version 3", {"data": "kmrd"}, evaluation, "hold", ["worse"]).as_markdown()


def test_the_card_of_a_first_model_has_no_champion():
    assert "| streaming AUC | 0.8200 | - | 0.8200 |" in card()
    assert "| new user | 1,234 | - |" in card()
    assert "overlap of two users | 0.6000 | - | - |" in card()


def test_the_card_carries_facts_decision_and_limits():
    text = card(champion=MEASURED)
    assert text.startswith("# m version 3\n")
    assert "- **data**: kmrd" in text
    assert "## Decision: hold\n\n- worse" in text
    assert "| frozen NDCG@10 | 0.9000 | 0.9000 | 0.9000 |" in text
    assert "overlap of two users | 0.6000 | 0.7500 | - |" in text
    assert "Gini of exposure | 0.7100 | 0.7100 | 0.7100 |" in text
    assert "novelty, bits | 5.2500 |" in text
    assert "same digest" in text, "it says with what its metrics may be compared"
    assert "## Limits" in text


def test_a_headline_has_both_models_and_the_interval_of_the_streaming_difference():
    champion = {**MEASURED, "streaming": {"auc": 0.81, "log_loss": 0.47, "ece": 0.02}}
    lists = {**EVALUATION["lists"], "champion": {**LISTS, "overlap": 0.75}}
    rows = list(headlines({**EVALUATION, "champion": champion, "lists": lists}))
    assert [row.title for row in rows] == [title for *_, title in HEADLINES]
    assert (rows[0].challenger, rows[0].other) == (0.82, 0.81)
    assert rows[0].interval == "[-0.0020, +0.0220]"
    assert [row.interval for row in rows[1:]] == [""] * (len(HEADLINES) - 1)
    assert rows[5].challenger is None
    (overlap,) = (row for row in rows if "overlap" in row.title)
    assert (overlap.challenger, overlap.other) == (0.6, 0.75)


def test_a_first_models_lists_are_compared_with_the_baselines():
    (gini,) = (row for row in headlines(EVALUATION) if "Gini" in row.title)
    assert (gini.challenger, gini.other) == (0.71, 0.71)


def test_a_difference_is_written_with_its_sign_and_its_interval():
    assert difference_text(EVALUATION) == "+0.0100 [-0.0020, +0.0220]"
    assert difference_text({**EVALUATION, "difference": None}) is None


def test_the_opponent_of_a_first_model_is_the_baseline():
    assert opponent_name({**EVALUATION, "champion": MEASURED}) == "champion"
    assert "baseline" in opponent_name(EVALUATION)


def test_a_table_aligns_numbers_to_the_right_and_escapes_bars():
    table = markdown_table(("name", "n"), [("a|b", "1")], 1)
    assert table == "| name | n |\n| --- | --: |\n| a\\|b | 1 |\n"


def test_numbers_are_written_under_their_names(tmp_path):
    write_csv(tmp_path / "numbers.csv", [{"name": "하나", "n": 1}, {"name": "b", "n": None}])
    text = (tmp_path / "numbers.csv").read_text(encoding="utf-8")
    assert text.splitlines() == ["name,n", "하나,1", "b,"]
