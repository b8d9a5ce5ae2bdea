"""Other data in KMRD's form are learned without touching a setting, whatever is missing or new."""

import shutil

import numpy as np
import pandas as pd
import pytest

from tests.worlds import ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.comparison import Evaluator
from widedeep.evaluation.gate import GateConfig
from widedeep.evaluation.scoring import model_scorer
from widedeep.evaluation.snapshot import UNKNOWN_ID
from widedeep.features.attributes import FeatureTables
from widedeep.features.history import Queries
from widedeep.model.presets import PRESETS
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
    heading, *lines = (folder / "movies.txt").read_text(encoding="utf-8").splitlines()
    words = ("Amélie", "千と千尋", "Вий", "الرسالة", "🎬 emoji")
    rows = [line.split("\t") for line in lines]
    for number, row in enumerate(rows):
        row[1] = f"{words[number % 5]} {number}"
    text = "\n".join([heading, *("\t".join(row) for row in rows), ""])
    (folder / "movies.txt").write_text(text, encoding="utf-8")
    heading, *lines = (folder / "genres.csv").read_text(encoding="utf-8").splitlines()
    swapped = [f"{line.split(',')[0]},genre nº {len(line) % 4} драма" for line in lines]
    (folder / "genres.csv").write_text("\n".join([heading, *swapped, ""]), encoding="utf-8")


def only_new_users(folder):
    rewrite(folder, lambda rates: rates.assign(user=np.arange(len(rates)) + 1))


def no_new_users(folder):
    def of_early_users(rates):
        early = rates[rates.time < rates.time.quantile(0.5)]
        return rates[rates.user.isin(early.user)]

    rewrite(folder, of_early_users)


def few_ratings(folder):
    rewrite(folder, lambda rates: rates.sort_values("time").tail(1200))


def huge_ids(folder):
    rewrite(folder, lambda rates: rates.assign(user=rates.user * 10**12 - 10**14))


def every_rating_at_midnight(folder):
    """Days instead of minutes: hundreds of ratings share an instant."""
    rewrite(folder, lambda rates: rates.assign(time=rates.time // 86_400 * 86_400))


FORMS = [
    without_optional_files,
    in_other_languages,
    only_new_users,
    no_new_users,
    few_ratings,
    huge_ids,
    every_rating_at_midnight,
]


def train_on(folder, store, train, name="default"):
    """Ingest a folder and train on it; return the model, interactions, item table and split."""
    ratings = IngestedData(ingest(folder, ArtifactStore(store), NOW))
    interactions, tables = (
        ratings.interactions(),
        FeatureTables.from_side_tables(ratings.side_tables()),
    )
    split = Split.from_times(interactions.time, ratings.last_time + 1)
    model = train(interactions, tables, split, name, epochs=2)
    return model, interactions, tables, split


@pytest.mark.parametrize("form", FORMS)
def test_it_is_learned_and_evaluated(form, folder, train, tmp_path):
    form(folder)
    model, *world = train_on(folder, tmp_path / "store", train)
    (tmp_path / "evaluation").mkdir()
    evaluator = Evaluator(*world, GateConfig(replicates=100))
    comparison = evaluator.compare(model, None, tmp_path / "evaluation")
    assert comparison.challenger["streaming"]["log_loss"] < 0.8
    assert comparison.challenger["frozen"]["log_loss"] < 0.8
    with_champion = evaluator.compare(model, model, tmp_path / "evaluation")
    assert with_champion.challenger == comparison.challenger


@pytest.mark.parametrize("name", PRESETS)
def test_a_new_user_or_item_is_scored_by_the_other_side(name, folder, train, tmp_path):
    model, interactions, tables, split = train_on(folder, tmp_path / "store", train, name)
    user = np.array([UNKNOWN_ID, interactions.user[-1], UNKNOWN_ID])
    item = np.array([interactions.item[-1], UNKNOWN_ID, UNKNOWN_ID])
    time = np.full(3, split.as_of)
    scores = model_scorer(model, interactions, tables)(Queries(user, item, time, time))
    assert ((scores > 0) & (scores < 1)).all()
