"""Other data in KMRD's form are learned without touching a setting: whatever is missing or new."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from widedeep.data.ingest import ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.gate import GateConfig
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import PRESETS, preset
from widedeep.store import ArtifactStore

NOW = 1_700_000_000


@pytest.fixture
def folder(simulated, tmp_path):
    return shutil.copytree(simulated, tmp_path / "other")


def rewrite(folder, change):
    rates = pd.read_csv(folder / "rates.csv")
    change(rates).to_csv(folder / "rates.csv", index=False)


def without_optional_files(folder):
    for name in ("genres.csv", "countries.csv", "castings.csv", "peoples.txt"):
        (folder / name).unlink()


def in_other_languages(folder):
    items = (folder / "movies.txt").read_text(encoding="utf-8").splitlines()
    words = ("Amélie", "千と千尋", "Вий", "الرسالة", "🎬 emoji")
    rows = [item.split("\t") for item in items[1:]]
    for place, row in enumerate(rows):
        row[1] = f"{words[place % 5]} {place}"
    text = "\n".join([items[0], *("\t".join(row) for row in rows), ""])
    (folder / "movies.txt").write_text(text, encoding="utf-8")
    genres = (folder / "genres.csv").read_text(encoding="utf-8").splitlines()
    swapped = [f"{row.split(',')[0]},genre nº {len(row) % 4} драма" for row in genres[1:]]
    (folder / "genres.csv").write_text("\n".join([genres[0], *swapped, ""]), encoding="utf-8")


def only_cold_users(folder):
    rewrite(folder, lambda rates: rates.assign(user=np.arange(len(rates)) + 1))


def no_cold_users(folder):
    def known(rates):
        early = rates[rates.time < rates.time.quantile(0.5)]
        return rates[rates.user.isin(early.user)]

    rewrite(folder, known)


def few_ratings(folder):
    rewrite(folder, lambda rates: rates.sort_values("time").tail(1200))


def huge_ids(folder):
    def moved(rates):
        return rates.assign(user=rates.user * 10**12 - 10**14)

    rewrite(folder, moved)


def every_rating_at_midnight(folder):
    """Days instead of minutes: hundreds of ratings share an instant."""
    rewrite(folder, lambda rates: rates.assign(time=rates.time // 86_400 * 86_400))


FORMS = [
    without_optional_files,
    in_other_languages,
    only_cold_users,
    no_cold_users,
    few_ratings,
    huge_ids,
    every_rating_at_midnight,
]


def learned(folder, store, name="default"):
    ratings = IngestedData(ingest(folder, ArtifactStore(store), NOW))
    interactions, item_table = ratings.load(), ItemTable.from_table(ratings.items())
    split = Split.of(interactions.time, ratings.last_time + 1)
    chosen = preset(name)
    chosen = replace(chosen, training=replace(chosen.training, epochs=2))
    plan = TrainingData.of(
        cold_parts(interactions, item_table, split, chosen.features, chosen.sampling)
    )
    fitting = TrainingRun(plan, chosen, None, seed=0)
    list(fitting.epochs())
    return fitting.finished(), interactions, item_table, split


@pytest.mark.parametrize("form", FORMS)
def test_it_is_learned_and_judged(form, folder, tmp_path):
    form(folder)
    model, interactions, item_table, split = learned(folder, tmp_path / "store")
    (tmp_path / "evaluation").mkdir()
    evaluator = Evaluator(interactions, item_table, split, GateConfig(replicates=100))
    found = evaluator.compare(model, None, tmp_path / "evaluation")
    assert found.challenger["streaming"]["log_loss"] < 0.8
    assert found.challenger["frozen"]["log_loss"] < 0.8
    again = evaluator.compare(model, model, tmp_path / "evaluation")
    assert again.challenger == found.challenger


@pytest.mark.parametrize("name", PRESETS)
def test_strangers_are_scored_by_what_is_known_of_the_other_side(name, folder, tmp_path):
    model, interactions, item_table, split = learned(folder, tmp_path / "store", name)
    score = model_scorer(model, interactions, item_table)
    time = np.full(3, split.as_of)
    user, item = (
        np.array([-1, interactions.user[-1], -1]),
        np.array([interactions.item[-1], -1, -1]),
    )
    found = score(Queries(user, item, time, time))
    assert ((found > 0) & (found < 1)).all()
