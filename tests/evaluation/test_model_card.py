"""A card carries the numbers of both models, the decision and the limits."""

from widedeep.evaluation.model_card import ModelCard

MEASURED = {
    "streaming": {"auc": 0.82, "log_loss": 0.46, "ece": 0.01},
    "frozen": {"auc": 0.75, "gauc": 0.7, "ndcg_at_10": 0.9},
}
EVALUATION = {
    "challenger": MEASURED,
    "champion": None,
    "baseline": MEASURED,
    "challenger_slices": {
        "new_user": {"rows": 1234, "streaming": {"auc": None}, "frozen": {"auc": 0.6}}
    },
}


def card(**more):
    evaluation = {**EVALUATION, **more}
    return ModelCard("m version 3", {"data": "kmrd"}, evaluation, "hold", ["worse"]).as_markdown()


def test_a_first_model_has_no_champion_beside_it():
    assert "| streaming AUC | 0.8200 | - | 0.8200 |" in card()
    assert "| new user | 1,234 | - |" in card()


def test_the_card_tells_facts_and_decision():
    text = card(champion=MEASURED)
    assert text.startswith("# m version 3\n")
    assert "- **data**: kmrd" in text
    assert "## Decision: hold\n\n- worse" in text
    assert "| frozen NDCG@10 | 0.9000 | 0.9000 | 0.9000 |" in text
