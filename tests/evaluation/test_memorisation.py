"""The report says what the wide part holds, on what evidence, and what became of it.

The curve over L1 counts what FTRL's own rule would keep.
"""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from widedeep.evaluation.memorisation import (
    COLUMNS,
    MULTIPLES,
    REPORT,
    TABLE,
    Memorisation,
    sparsity_curve,
)
from widedeep.features.encoded import FeatureSupport
from widedeep.model.ftrl import FtrlConfig, weight_from
from widedeep.model.network import NetworkConfig
from widedeep.model.trainer import TrainingConfig

SEQUEL = "liked 매트릭스 → 매트릭스 2"
PREQUEL = "liked 매트릭스 2 → 매트릭스"
TRIPLE = "user_count from 10.5 x genres SF x grade 12세"


@pytest.fixture(scope="module")
def made(make_transform):
    return make_transform()


@pytest.fixture(scope="module")
def place(made, find_wide):
    """Wide ids by name."""
    return {
        "movie 1": find_wide(made, "item", 1),
        "movie 2": find_wide(made, "item", 2),
        "leading 5": find_wide(made, "leading", 1),
        "sequel": find_wide(made, "liked x item", 1, 2),
        "prequel": find_wide(made, "liked x item", 2, 1),
        "grade 12": find_wide(made, "grade", 2),
        "triple": find_wide(made, "user_count_bucket x genres x grade", 4, 1, 2),
    }


@pytest.fixture(scope="module")
def evidence(made, place):
    support, positives = np.zeros((2, made.wide_size), np.int64)
    for name, counts in {
        "movie 2": (40, 10),
        "sequel": (8, 6),
        "grade 12": (50, 40),
        "triple": (10, 4),
        "leading 5": (20, 3),
    }.items():
        support[place[name]], positives[place[name]] = counts
    return FeatureSupport(support, positives, 100, 60)


@pytest.fixture(scope="module")
def model(made, place, evidence, make_model):
    weights = {"sequel": 0.5, "prequel": -0.2, "triple": 0.1, "leading 5": -0.9}
    return make_model(made, {place[k]: w for k, w in weights.items()}, evidence=evidence)


def by_phrase(found):
    return found.features.set_index("korean")


def test_the_table_holds_exactly_the_features_with_a_weight_the_heaviest_first(model, names):
    features = Memorisation.of(model, names).features
    assert features["korean"].tolist() == ["leading 키아누 리브스", SEQUEL, PREQUEL, TRIPLE]
    assert features["weight"].tolist() == pytest.approx([-0.9, 0.5, -0.2, 0.1])
    assert features["sign"].tolist() == [-1, 1, -1, 1]
    assert features["before"].isna().all()
    assert features["change"].isna().all()


def test_lift_compares_a_cross_with_the_rows_of_its_last_part(model, names):
    features = by_phrase(Memorisation.of(model, names))
    assert features.loc[SEQUEL, ["support", "positive_rate"]].tolist() == [8, 0.75]
    assert features.loc[SEQUEL, "lift"] == pytest.approx(0.75 / (10 / 40))
    assert features.loc[TRIPLE, "lift"] == pytest.approx(0.4 / (40 / 50))


def test_lift_compares_a_raw_feature_with_all_rows(model, names):
    features = by_phrase(Memorisation.of(model, names))
    assert features.loc["leading 키아누 리브스", "lift"] == pytest.approx((3 / 20) / (60 / 100))


def test_lift_is_unknown_without_evidence(model, names):
    features = by_phrase(Memorisation.of(model, names))
    assert features.loc[PREQUEL, "support"] == 0
    assert features.loc[PREQUEL, ["positive_rate", "lift"]].isna().all()


def test_changes_are_found_by_token_after_all_ids_have_moved(
    model, names, make_transform, make_model, find_wide
):
    old = make_transform(items=(1, 2, 4), grades=("12세",), leading=(3, 5), liked=((1, 2), (4, 1)))
    weights = {
        find_wide(old, "liked x item", 1, 2): -0.4,
        find_wide(old, "leading", 2): -0.3,
        find_wide(old, "liked x item", 3, 1): 0.7,
        find_wide(old, "item", 2): 0.25,
    }
    found = Memorisation.of(model, names, make_model(old, weights))
    features = by_phrase(found)
    assert found.changes() == {"learned": 2, "forgotten": 2, "flipped": 1, "kept": 1}
    assert features["change"].to_dict() == {
        "leading 키아누 리브스": "kept",
        SEQUEL: "flipped",
        PREQUEL: "learned",
        TRIPLE: "learned",
        "liked 아리랑 → 매트릭스": "forgotten",
        "movie 매트릭스 2": "forgotten",
    }
    before = features["before"]
    assert before[[SEQUEL, PREQUEL]].tolist() == pytest.approx([-0.4, 0])
    assert before["liked 아리랑 → 매트릭스"] == pytest.approx(0.7)
    assert features.loc["movie 매트릭스 2", ["weight", "sign", "support"]].tolist() == [0, 0, 40]
    assert features.index[-2:].tolist() == ["liked 아리랑 → 매트릭스", "movie 매트릭스 2"]


def test_against_itself_everything_is_kept(model, names):
    assert Memorisation.of(model, names, model).changes() == {
        "learned": 0,
        "forgotten": 0,
        "flipped": 0,
        "kept": 4,
    }


def test_a_previous_model_of_other_features_can_be_compared(
    model, names, make_transform, make_model, smaller_spec
):
    old = make_model(make_transform(spec=smaller_spec), {0: 1.0})
    assert Memorisation.of(model, names, old).changes()["learned"] == 4
    assert Memorisation.of(old, names, model).changes()["forgotten"] == 4


def test_blocks_add_up_to_the_whole_wide_part(model, names):
    blocks = Memorisation.of(model, names).blocks
    assert blocks["keys"].sum() == model.transform.wide_size
    assert blocks["nonzero"].sum() == 4
    memory = blocks[blocks["memory"]].to_dict("records")
    weight = pytest.approx(0.7)
    assert memory == [
        {"block": "liked x item", "memory": True, "keys": 2, "nonzero": 2, "weight": weight}
    ]


def test_it_is_written_as_parquet_and_markdown(model, names, tmp_path):
    found = Memorisation.of(model, names, model)
    found.save(tmp_path)
    assert pq.read_schema(tmp_path / TABLE).equals(COLUMNS)
    read = pd.read_parquet(tmp_path / TABLE)
    assert read["korean"].tolist() == found.features["korean"].tolist()
    assert read["weight"].tolist() == found.features["weight"].tolist()
    assert (tmp_path / REPORT).read_text(encoding="utf-8") == found.as_markdown()


def test_the_summary_is_json(model, names):
    summary = json.loads(json.dumps(Memorisation.of(model, names).summary(), allow_nan=False))
    assert summary["changes"] is None
    assert sum(block["nonzero"] for block in summary["blocks"]) == 4
    assert [point["present"] for point in summary["sparsity"]].count(True) == 1


def test_the_report_shows_the_strongest_memories_in_both_languages(model, names):
    text = Memorisation.of(model, names).as_markdown()
    up, down = text.split("### Up")[1].split("### Down")
    row = f"| {SEQUEL} | liked The Matrix → The Matrix Reloaded | +0.5000 | 8 | 0.75 | 3.00 |"
    assert row in up
    assert PREQUEL in down
    assert PREQUEL not in up
    assert "There is no previous model." in text


def test_the_report_keeps_each_list_to_its_length(model, names, make_model):
    previous = make_model(model.transform, {})
    text = Memorisation.of(model, names, previous).as_markdown(top=1)
    learned = text.split("### Learned")[1].split("### Forgotten")[0]
    assert learned.count("\n| ") == 3
    assert "leading 키아누 리브스" in learned
    assert "4 learned, 0 forgotten, 0 flipped, 0 kept." in text
    assert "None." in text.split("### Forgotten")[1].split("### Flipped")[0]


def test_a_bar_in_a_title_does_not_break_the_table(names, make_transform, make_model, find_wide):
    made = make_transform(items=(1, 6), liked=((1, 6),), others=())
    model = make_model(made, {find_wide(made, "liked x item", 1, 2): 1.0})
    text = Memorisation.of(model, names).as_markdown()
    assert "liked 매트릭스 → 새\\|鳥 | liked The Matrix → Good Morning, Vietnam |" in text


def test_a_model_without_a_wide_part_remembers_nothing(names, make_transform, make_model, tmp_path):
    config = NetworkConfig(embedding=2, hidden=(3,), wide=False)
    model = make_model(make_transform(), {}, config=config)
    for previous in (None, model):
        found = Memorisation.of(model, names, previous)
        assert found.features.empty
        assert f"0 of {model.transform.wide_size} wide features" in found.as_markdown()
    found.save(tmp_path)


@pytest.fixture(scope="module")
def sparse_model(make_transform, make_model):
    """Its z are spread evenly, and its weights are what FTRL makes of them."""
    model = make_model(make_transform(), {}, l1=2.0)
    z, n = model.state["wide/z"], model.state["wide/n"]
    z.copy_(torch.linspace(-4, 4, len(z))[:, None])
    model.network.wide.data.copy_(weight_from(z, n, model.training.ftrl))
    return model


def test_at_the_present_l1_it_counts_the_weights_there_are(sparse_model):
    curve = sparsity_curve(sparse_model)
    (present,) = curve[curve["present"]].itertuples()
    assert present.l1 == 2.0
    assert (
        0
        < present.nonzero
        == np.count_nonzero(sparse_model.wide_weights)
        < len(sparse_model.wide_weights)
    )


def test_each_count_is_that_of_the_weights_another_l1_would_make(sparse_model):
    z, n = sparse_model.state["wide/z"], sparse_model.state["wide/n"]
    curve = sparsity_curve(sparse_model, np.array([0.0, 0.5, 3.0, 4.0, 9.0]))
    for point in curve.itertuples():
        weights = weight_from(z, n, replace(sparse_model.training.ftrl, l1=point.l1))
        assert point.nonzero == (weights != 0).sum()
    assert curve["l1"].tolist() == [0.0, 0.5, 2.0, 3.0, 4.0, 9.0]
    assert curve["nonzero"].is_monotonic_decreasing


def test_a_model_without_l1_has_a_curve_too(sparse_model):
    free = replace(sparse_model, training=TrainingConfig(ftrl=FtrlConfig(l1=0.0)))
    curve = sparsity_curve(free)
    assert curve["l1"].tolist() == list(MULTIPLES)
    assert curve[curve["present"]]["l1"].tolist() == [0.0]


def test_a_model_without_a_wide_part_keeps_nothing(make_transform, make_model):
    config = NetworkConfig(embedding=2, hidden=(3,), wide=False)
    curve = sparsity_curve(make_model(make_transform(), {}, config=config))
    assert not curve["nonzero"].any()
