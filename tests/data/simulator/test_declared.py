"""Data of a declared form have its files, and a truth in which each declared feature counts."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from widedeep.data.check import Status, check
from widedeep.data.dataset_file import load_spec
from widedeep.data.ingest import ingest
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import EXAMPLE, read_form, simulate
from widedeep.data.tables import IngestedData
from widedeep.inputs import InputError
from widedeep.metrics import auc
from widedeep.store import ArtifactStore

NOW = 1_700_000_000
SMALL = SimulationConfig(users=900, items=60, ratings=5000, positive_share=0.3, seed=2)

THREE_TABLES = """
version = 1
[interactions]
files = ["shop.inter"]
user = "user_id"
item = "item_id"
time = "time"
time_unit = "iso"
integer_ids = true
label = { column = "stars", at_least = 4 }
value = { column = "stars", minimum = 1, maximum = 5 }
weight = "w"
[items]
files = ["items.dat"]
separator = "::"
columns = ["id", "name", "unused", "kinds"]
id = "id"
title = "name"
[users]
files = ["users.tsv"]
id = "user_id"
[tables.kinds]
files = ["kinds.csv"]
id = "item"
of = "items"
[tables.makers]
files = ["makers.csv"]
id = "maker"
title = "name"
[[features]]
name = "makers"
from = "kinds.maker"
type = "bag"
where = { main = 1 }
order_by = "rank"
names = "makers"
[[features]]
name = "born"
from = "users.born"
type = "age"
[[features]]
name = "hour"
from = "time"
type = "hour"
"""
FORMS = {"flat": EXAMPLE.read_text(encoding="utf-8"), "three tables": THREE_TABLES}


@pytest.fixture(scope="module", params=FORMS)
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("declared") / "shop"
    simulate(SMALL, path, FORMS[request.param])
    return path


def test_the_files_are_what_the_form_declares(folder, tmp_path):
    results = check(folder, load_spec(folder), NOW)
    assert [r for r in results if r.status is Status.FAIL] == []
    artifact = ingest(folder, load_spec(folder), ArtifactStore(tmp_path), NOW)
    counts = artifact.summary["counts"]
    assert (counts["read"], counts["quarantined"]) == (5000, 0)
    data = IngestedData(artifact)
    assert data.interactions().label.mean() == pytest.approx(0.3, abs=0.06)
    assert len(data.side_tables().items) == 60
    for feature in data.side_tables().spec.features:
        for table in (data.side_tables().items, data.side_tables().users):
            if feature.name in table.column_names:
                assert table[feature.name].null_count < 0.2 * len(table)


def test_the_truth_is_that_of_the_rows(folder):
    truth = pq.read_table(folder / "truth.parquet").to_pandas()
    marker = json.loads((folder / "simulation.json").read_text(encoding="utf-8"))
    assert len(truth) == 5000
    assert marker["known_optimum"]["all_rows"]["auc"] > 0.85
    assert {*marker["features"]} == {f.name for f in load_spec(folder).features}


def test_a_feature_tells_what_the_truth_says(tmp_path):
    """The mean label of each device follows its planted effect, which is all that there is."""
    quiet = {"user_spread": 0.0, "item_spread": 0.0, "taste_spread": 0.0, "drift": 0.0}
    config = SimulationConfig(2000, 60, 20_000, exceptions=0, single_share=0.0, **quiet)
    form = FORMS["flat"]
    only_device = form[: form.index("[items]")] + form[form.index('name = "device"') - 13 :]
    only_device = only_device[: only_device.index('[[features]]\nname = "hour"')]
    simulate(config, tmp_path / "clicks", only_device)
    rows = pd.read_parquet(tmp_path / "clicks" / "clicks-1.parquet")
    marker = json.loads((tmp_path / "clicks" / "simulation.json").read_text(encoding="utf-8"))
    shares = rows.groupby("device").clicked.mean()
    effects = np.array(marker["features"]["device"])
    assert np.argsort(shares.to_numpy()).tolist() == np.argsort(effects).tolist()
    known = rows.device.notna()
    score = rows.device[known].map(shares).to_numpy()
    best = marker["known_optimum"]["all_rows"]["auc"]
    assert auc(rows.clicked[known].to_numpy() == 1, score) == pytest.approx(best, abs=0.02)


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        simulate(SMALL, tmp_path / name, FORMS["flat"])
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {"clicks-1.parquet", "articles.csv", "dataset.toml", "simulation.json"} | {
        "truth.parquet"
    }
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_log_of_positives_has_no_other_rows(tmp_path):
    form = FORMS["flat"].replace('label = { column = "clicked" }\n', "")
    simulate(SMALL, tmp_path / "a", form + "[negatives]\nper_positive = 2\n")
    rows = len(pq.read_table(tmp_path / "a" / "clicks-1.parquet"))
    assert rows == pytest.approx(1500, abs=400)


def test_what_cannot_be_simulated_is_refused_and_nothing_is_written(tmp_path):
    form = FORMS["flat"].replace('separator = "|"', 'separator = "|"\npattern = "(.*)"')
    with pytest.raises(InputError, match="'tags' has a pattern"):
        simulate(SMALL, tmp_path / "a", form)
    with pytest.raises(InputError, match="or the word clicks"):
        read_form(tmp_path / "none.toml")
    assert not [*tmp_path.iterdir()]
