"""What the wide part holds, with which support, what changed, and what another L1 would keep."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from widedeep.evaluation import MEMORISATION_REPORT, MEMORISATION_TABLE
from widedeep.evaluation.memorisation import (
    COLUMNS,
    MULTIPLES,
    Memorisation,
    sparsity_curve,
)
from widedeep.features.encoded import FeatureSupport
from widedeep.model.ftrl import FtrlConfig, weight_from_state
from widedeep.model.network import NetworkConfig
from widedeep.model.trainer import TrainingConfig

SEQUEL = "liked 매트릭스 → 매트릭스 2"
PREQUEL = "liked 매트릭스 2 → 매트릭스"
TRIPLE = "user_count from 10.5 x genres SF x grade 12세"


@pytest.fixture(scope="module")
def transform(make_transform):
    return make_transform()


@pytest.fixture(scope="module")
def wide_ids(transform, find_wide_id):
    """Return some wide ids by a name for them."""
    return {
        "item 1": find_wide_id(transform, "item", 1),
        "item 2": find_wide_id(transform, "item", 2),
        "leading 5": find_wide_id(transform, "leading", 1),
        "sequel": find_wide_id(transform, "liked x item", 1, 2),
        "prequel": find_wide_id(transform, "liked x item", 2, 1),
        "grade 12": find_wide_id(transform, "grade", 2),
        "triple": find_wide_id(transform, "user_count_bucket x genres x grade", 4, 1, 2),
    }


@pytest.fixture(scope="module")
def support(transform, wide_ids):
    fired, positives = np.zeros((2, transform.wide_size), np.int64)
    for name, counts in {
        "item 2": (40, 10),
        "sequel": (8, 6),
        "grade 12": (50, 40),
        "triple": (10, 4),
        "leading 5": (20, 3),
    }.items():
        fired[wide_ids[name]], positives[wide_ids[name]] = counts
    return FeatureSupport(fired, positives, 100, 60)


@pytest.fixture(scope="module")
def model(transform, wide_ids, support, make_model):
    weights = {"sequel": 0.5, "prequel": -0.2, "triple": 0.1, "leading 5": -0.9}
    return make_model(
        transform, {wide_ids[name]: weight for name, weight in weights.items()}, support=support
    )


def by_phrase(memorisation):
    return memorisation.features.set_index("korean")


def test_the_table_holds_exactly_the_features_with_a_weight_the_heaviest_first(model, names):
    features = Memorisation.compute(model, names).features
    assert features["korean"].tolist() == ["leading 키아누 리브스", SEQUEL, PREQUEL, TRIPLE]
    assert features["weight"].tolist() == pytest.approx([-0.9, 0.5, -0.2, 0.1])
    assert features["sign"].tolist() == [-1, 1, -1, 1]
    assert features["before"].isna().all()
    assert features["change"].isna().all()


def test_lift_compares_a_cross_with_the_rows_of_its_last_part(model, names):
    features = by_phrase(Memorisation.compute(model, names))
    assert features.loc[SEQUEL, ["support", "positive_rate"]].tolist() == [8, 0.75]
    assert features.loc[SEQUEL, "lift"] == pytest.approx(0.75 / (10 / 40))
    assert features.loc[TRIPLE, "lift"] == pytest.approx(0.4 / (40 / 50))


def test_lift_compares_a_raw_feature_with_all_rows(model, names):
    features = by_phrase(Memorisation.compute(model, names))
    assert features.loc["leading 키아누 리브스", "lift"] == pytest.approx((3 / 20) / (60 / 100))


def test_the_report_says_what_is_positive_and_names_features_once_where_languages_agree(
    model, names
):
    memory = Memorisation.compute(model, names)
    report = memory.as_markdown()
    assert model.transform.spec.label in report
    assert "| Korean | English |" in report
    same = replace(memory, features=memory.features.assign(english=memory.features["korean"]))
    assert "Korean" not in same.as_markdown()


def test_lift_is_null_without_support(model, names):
    features = by_phrase(Memorisation.compute(model, names))
    assert features.loc[PREQUEL, "support"] == 0
    assert features.loc[PREQUEL, ["positive_rate", "lift"]].isna().all()


def test_changes_are_found_by_id_after_all_wide_ids_have_moved(
    model, names, make_transform, make_model, find_wide_id
):
    old = make_transform(items=(1, 2, 4), grades=("12세",), leading=(3, 5), liked=((1, 2), (4, 1)))
    weights = {
        find_wide_id(old, "liked x item", 1, 2): -0.4,
        find_wide_id(old, "leading", 2): -0.3,
        find_wide_id(old, "liked x item", 3, 1): 0.7,
        find_wide_id(old, "item", 2): 0.25,
    }
    memorisation = Memorisation.compute(model, names, make_model(old, weights))
    features = by_phrase(memorisation)
    assert memorisation.changes() == {"learned": 2, "forgotten": 2, "flipped": 1, "kept": 1}
    assert features["change"].to_dict() == {
        "leading 키아누 리브스": "kept",
        SEQUEL: "flipped",
        PREQUEL: "learned",
        TRIPLE: "learned",
        "liked 아리랑 → 매트릭스": "forgotten",
        "item 매트릭스 2": "forgotten",
    }
    before = features["before"]
    assert before[[SEQUEL, PREQUEL]].tolist() == pytest.approx([-0.4, 0])
    assert before["liked 아리랑 → 매트릭스"] == pytest.approx(0.7)
    assert features.loc["item 매트릭스 2", ["weight", "sign", "support"]].tolist() == [0, 0, 40]
    assert features.index[-2:].tolist() == ["liked 아리랑 → 매트릭스", "item 매트릭스 2"]


def test_against_itself_everything_is_kept(model, names):
    assert Memorisation.compute(model, names, model).changes() == {
        "learned": 0,
        "forgotten": 0,
        "flipped": 0,
        "kept": 4,
    }


def test_a_previous_model_of_other_features_can_be_compared(
    model, names, make_transform, make_model, smaller_spec
):
    old = make_model(make_transform(spec=smaller_spec), {0: 1.0})
    assert Memorisation.compute(model, names, old).changes()["learned"] == 4
    assert Memorisation.compute(old, names, model).changes()["forgotten"] == 4


def test_blocks_add_up_to_the_whole_wide_part(model, names):
    blocks = Memorisation.compute(model, names).blocks
    assert blocks["keys"].sum() == model.transform.wide_size
    assert blocks["nonzero"].sum() == 4
    memory = blocks[blocks["memory"]].to_dict("records")
    weight = pytest.approx(0.7)
    assert memory == [
        {"block": "liked x item", "memory": True, "keys": 2, "nonzero": 2, "weight": weight}
    ]


def test_it_is_written_as_parquet_and_markdown(model, names, tmp_path):
    memorisation = Memorisation.compute(model, names, model)
    memorisation.save(tmp_path)
    assert pq.read_schema(tmp_path / MEMORISATION_TABLE).equals(COLUMNS)
    table = pd.read_parquet(tmp_path / MEMORISATION_TABLE)
    assert table["korean"].tolist() == memorisation.features["korean"].tolist()
    assert table["weight"].tolist() == memorisation.features["weight"].tolist()
    assert (tmp_path / MEMORISATION_REPORT).read_text(
        encoding="utf-8"
    ) == memorisation.as_markdown()


def test_the_summary_is_json(model, names):
    summary = json.loads(json.dumps(Memorisation.compute(model, names).summary(), allow_nan=False))
    assert summary["changes"] is None
    assert sum(block["nonzero"] for block in summary["blocks"]) == 4
    assert [point["present"] for point in summary["sparsity"]].count(True) == 1


def test_the_report_shows_the_strongest_memories_in_both_languages(model, names):
    text = Memorisation.compute(model, names).as_markdown()
    up, down = text.split("### Up")[1].split("### Down")
    row = f"| {SEQUEL} | liked The Matrix → The Matrix Reloaded | +0.5000 | 8 | 0.75 | 3.00 |"
    assert row in up
    assert PREQUEL in down
    assert PREQUEL not in up
    assert "There is no previous model." in text


def test_the_report_cuts_each_list_to_its_length(model, names, make_model):
    previous = make_model(model.transform, {})
    text = Memorisation.compute(model, names, previous).as_markdown(top=1)
    learned = text.split("### Learned")[1].split("### Forgotten")[0]
    assert learned.count("\n| ") == 3
    assert "leading 키아누 리브스" in learned
    assert "4 learned, 0 forgotten, 0 flipped, 0 kept." in text
    assert "None." in text.split("### Forgotten")[1].split("### Flipped")[0]


def test_a_bar_in_a_title_does_not_break_the_table(names, make_transform, make_model, find_wide_id):
    transform = make_transform(items=(1, 6), liked=((1, 6),), others=())
    model = make_model(transform, {find_wide_id(transform, "liked x item", 1, 2): 1.0})
    text = Memorisation.compute(model, names).as_markdown()
    assert "liked 매트릭스 → 새\\|鳥 | liked The Matrix → Good Morning, Vietnam |" in text


def test_a_model_without_a_wide_part_remembers_nothing(names, make_transform, make_model, tmp_path):
    config = NetworkConfig(embedding=2, hidden=(3,), wide=False)
    model = make_model(make_transform(), {}, config=config)
    for previous in (None, model):
        memorisation = Memorisation.compute(model, names, previous)
        assert memorisation.features.empty
        assert f"0 of {model.transform.wide_size} wide features" in memorisation.as_markdown()
    memorisation.save(tmp_path)


@pytest.fixture(scope="module")
def sparse_model(make_transform, make_model):
    """Return a model whose z are spread evenly, with the weights that FTRL makes of them."""
    model = make_model(make_transform(), {}, l1=2.0)
    z, n = model.optimiser_state["wide/z"], model.optimiser_state["wide/n"]
    z.copy_(torch.linspace(-4, 4, len(z))[:, None])
    model.network.wide.data.copy_(weight_from_state(z, n, model.training.ftrl))
    return model


def test_at_the_present_l1_the_curve_counts_the_weights_of_the_model(sparse_model):
    curve = sparsity_curve(sparse_model)
    (present,) = curve[curve["present"]].itertuples()
    assert present.l1 == 2.0
    assert (
        0
        < present.nonzero
        == np.count_nonzero(sparse_model.wide_weights)
        < len(sparse_model.wide_weights)
    )


def test_each_point_counts_the_weights_that_another_l1_would_make(sparse_model):
    z, n = sparse_model.optimiser_state["wide/z"], sparse_model.optimiser_state["wide/n"]
    curve = sparsity_curve(sparse_model, np.array([0.0, 0.5, 3.0, 4.0, 9.0]))
    for point in curve.itertuples():
        weights = weight_from_state(z, n, replace(sparse_model.training.ftrl, l1=point.l1))
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
