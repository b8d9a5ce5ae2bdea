"""Predictions of the holdout and its slices."""

from dataclasses import replace

import numpy as np
import pytest

from tests.worlds import DAY, NOW, one_user_a_day, score_by_id
from widedeep.data.split import Split
from widedeep.evaluation.scoring import (
    HoldoutRows,
    Predictions,
    baseline_scorer,
    measure_slices,
    model_scorer,
    slice_masks,
)
from widedeep.features.history import Queries
from widedeep.features.training_data import example_queries


@pytest.fixture(scope="module")
def interactions():
    return one_user_a_day()


@pytest.fixture
def split():
    """The last ten days are the holdout."""
    return Split(1900 * DAY, 1940 * DAY, NOW)


def test_predictions_have_the_holdout_rows_in_the_order_of_the_interactions(interactions, split):
    predictions = Predictions.compute(interactions, split, score_by_id)
    holdout = split.holdout(interactions.time)
    assert holdout.sum() == len(predictions.label) == 20
    for name in ("user", "item", "time"):
        assert np.array_equal(getattr(predictions, name), getattr(interactions, name)[holdout])
    assert predictions.label.tolist() == (interactions.value[holdout] >= 10).tolist()


def test_streaming_knows_all_before_a_rating_and_frozen_all_before_the_holdout(interactions, split):
    queries = []
    Predictions.compute(
        interactions,
        split,
        lambda asked: queries.append(asked) or score_by_id(asked),
    )
    streaming, frozen = queries
    assert np.array_equal(streaming.known_until, streaming.time)
    assert set(frozen.known_until.tolist()) == {split.holdout_from}


def test_predictions_are_loaded_as_they_were_saved(interactions, split, tmp_path):
    predictions = Predictions.compute(interactions, split, score_by_id)
    predictions.save(tmp_path / "predictions.parquet")
    loaded = Predictions.load(tmp_path / "predictions.parquet")
    for name in Predictions.__slots__:
        assert np.array_equal(getattr(loaded, name), getattr(predictions, name))


def holdout_rows(predictions, split, folder):
    predictions.save(folder / "predictions.parquet")
    return HoldoutRows.read(folder / "predictions.parquet", split)


def test_the_same_rows_have_one_digest_whichever_model_scores_them(interactions, split, tmp_path):
    predictions = Predictions.compute(interactions, split, score_by_id)
    one = holdout_rows(predictions, split, tmp_path)
    assert (one.begin, one.end, one.rows) == (split.holdout_from, split.as_of, 20)
    assert "1975-04-25 to 1975-06-24, 20 rows, " in one.to_text()
    other = Predictions.compute(interactions, split, lambda queries: score_by_id(queries) / 2)
    assert holdout_rows(other, split, tmp_path) == one


@pytest.mark.parametrize("column", ["user", "item", "time", "label"])
def test_a_row_that_differs_in_anything_makes_another_digest(interactions, split, tmp_path, column):
    predictions = Predictions.compute(interactions, split, score_by_id)
    one = holdout_rows(predictions, split, tmp_path)
    values = getattr(predictions, column).copy()
    values[3] = not values[3] if column == "label" else values[3] + 1
    changed = replace(predictions, **{column: values})
    assert holdout_rows(changed, split, tmp_path).digest != one.digest


def test_slices_divide_the_holdout_by_new_users_and_new_items(world):
    interactions, _, split = world
    masks = slice_masks(interactions, split)
    holdout = split.holdout(interactions.time)
    assert (masks["new_user"] ^ masks["returning_user"]).all()
    assert (masks["new_item"] ^ masks["old_item"]).all()
    for user, time, new in zip(
        interactions.user[holdout], interactions.time[holdout], masks["new_user"], strict=True
    ):
        assert new == (not ((interactions.user == user) & (interactions.time < time)).any())
    for item, new in zip(interactions.item[holdout], masks["new_item"], strict=True):
        first = interactions.time[interactions.item == item].min()
        assert new == (first >= split.holdout_from)


def test_a_slice_metric_without_a_value_is_none(interactions, split):
    predictions = Predictions.compute(interactions, split, score_by_id)
    rows = np.arange(len(predictions.label))
    mixed = replace(predictions, label=rows % 2 == 0)
    masks = {"all": rows >= 0, "positive": mixed.label, "none": rows < 0}
    measured = measure_slices(mixed, masks)
    assert [measured[name]["rows"] for name in masks] == [20, 10, 0]
    assert measured["all"]["streaming"]["auc"] is not None
    assert measured["positive"]["frozen"]["auc"] is None
    assert measured["positive"]["frozen"]["log_loss"] is not None
    assert measured["none"]["streaming"] == {"auc": None, "log_loss": None}


def test_frozen_scores_know_nothing_of_the_holdout(world, models):
    interactions, tables, split = world
    before = interactions.select_rows(interactions.time < split.holdout_from)
    queries = example_queries(interactions, split.holdout(interactions.time), split.holdout_from)
    whole, cut = (
        model_scorer(models[0], history, tables)(queries) for history in (interactions, before)
    )
    assert np.array_equal(whole, cut)


def test_a_new_user_and_item_get_a_probability(world, models):
    interactions, tables, split = world
    unknown, moment = np.array([-1]), np.array([split.as_of])
    model = model_scorer(models[0], interactions, tables)
    baseline = baseline_scorer(models[0].transform, interactions, tables)
    for scorer in (model, baseline):
        assert 0 <= scorer(Queries(unknown, unknown, moment, moment))[0] <= 1
