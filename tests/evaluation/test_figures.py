"""Every figure is drawn, with a champion and without one."""

import numpy as np
import pytest

from widedeep.evaluation.bootstrap import Interval
from widedeep.evaluation.figures import FIGURES, draw_figures
from widedeep.evaluation.gate import Guardrail
from widedeep.evaluation.scoring import Predictions

GUARDRAILS = [
    Guardrail("streaming AUC of new users", 0.69, 0.68, Interval(0.01, -0.002, 0.02), -0.01),
    Guardrail("films in top-10 lists", 40.0, 40.0, Interval(0.0, 0.0, 0.0), -8.0),
]
MEMORY = {
    "blocks": [{"block": "liked x item", "keys": 10, "nonzero": 3, "weight": 0.4}],
    "sparsity": [
        {"l1": 0.0, "nonzero": 10, "present": False},
        {"l1": 10.0, "nonzero": 3, "present": True},
    ],
}


def epoch(number, train, validation):
    return {
        "epoch": number,
        "train_loss": train,
        "validation_loss": validation,
        "validation_auc": validation and 1 - validation,
    }


CURVES = {
    "cold": {"curve": [epoch(1, 0.6, 0.5), epoch(2, 0.5, None)], "best_epoch": 1},
    "warm": {"curve": [epoch(0, None, 0.5), epoch(1, 0.4, None)], "best_epoch": 0},
    "nothing new": {"curve": [epoch(1, 0.4, None)], "best_epoch": 0},
}


def predictions(seed):
    generator = np.random.default_rng(seed)
    rows, label = np.arange(500), np.random.default_rng(0).random(500) < 0.7
    probability = np.clip(0.6 * label + 0.4 * generator.random(500), 0, 1)
    return Predictions(rows, rows, rows, label, probability, probability)


@pytest.mark.parametrize("start", CURVES)
@pytest.mark.parametrize("guardrails", [GUARDRAILS, []])
def test_all_figures_are_drawn(start, guardrails, tmp_path):
    models = {"challenger": predictions(1), "champion": predictions(2)}
    draw_figures(models, guardrails, CURVES[start], MEMORY, tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(FIGURES)
    for name in FIGURES:
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
