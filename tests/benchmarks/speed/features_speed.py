"""Rows a second from ratings to encoded rows, on simulated ratings of KMRD's shape.

`basic` is what the anchors made: vocabularies, ids, quantiles, and counts and means of users and
items up to each rating. `full` is everything of the default preset, bags and crosses too. The peer
is pandas, on the basic work. The counts and means of ours come with all the other numbers of the
history, which is one sweep.
"""

from functools import partial
from time import perf_counter

import numpy as np
import pandas as pd

from tests.benchmarks.speed.rounds import alternate, medians
from tests.worlds import KMRD, rated
from widedeep.data.tables import Interactions
from widedeep.features.attributes import AttributeTable, FeatureTables
from widedeep.features.engine import InMemoryEngine
from widedeep.features.history import Queries
from widedeep.features.quantiles import QuantileNormaliser
from widedeep.features.ragged import Ragged
from widedeep.features.spec import Category, FeatureSpec, Number
from widedeep.features.vocabulary import Vocabulary
from widedeep.model.presets import get_preset

USERS_A_ROW, ITEMS_A_ROW = 86_000 / 5_000_000, 49_000 / 5_000_000
TAGS = {"genres": 20, "countries": 40, "leading": 2_000, "people": 5_000}
NUMBERS = ("user_count", "user_mean", "item_count", "item_mean")
BASIC = FeatureSpec(
    categories=(Category("user"), Category("item")),
    bags=(),
    numbers=tuple(Number(name) for name in NUMBERS),
    buckets=(),
    crosses=(),
    wide=(),
)


def measure(rows: int, runs: int) -> dict:
    """Median rows a second."""
    interactions, tables = log_of(rows), item_table_of(rows)
    full = get_preset("default", KMRD).features
    rates = medians(
        alternate(
            {
                "basic": partial(_encode, interactions, tables, BASIC),
                "full": partial(_encode, interactions, tables, full),
                "pandas basic": partial(_pandas, interactions),
            },
            runs,
        )
    )
    return {
        "ours": {name: rates[name] for name in ("basic", "full")},
        "limits": {"wanted basic": 1_000_000.0, "wanted full": 300_000.0},
        "peers": {"pandas basic": rates["pandas basic"]},
    }


def log_of(rows: int) -> Interactions:
    generator = np.random.default_rng(0)
    user = (rows * USERS_A_ROW * generator.random(rows) ** 2).astype(np.int64)
    item = (rows * ITEMS_A_ROW * generator.random(rows) ** 3).astype(np.int64)
    rate = np.where(generator.random(rows) < 0.67, 10, generator.integers(1, 10, rows))
    time = np.sort(generator.integers(1_100_000_000, 1_570_000_000, rows) // 60 * 60)
    return rated(user, item, rate, time)


def item_table_of(rows: int) -> FeatureTables:
    generator = np.random.default_rng(1)
    items = np.arange(int(rows * ITEMS_A_ROW) + 1)
    grades = np.array(["all", "12", "15", "18"], np.dtypes.StringDType())
    years = generator.integers(1950, 2010, len(items) + 1).astype(np.float64)
    attributes = AttributeTable(
        items,
        {"grade": grades[generator.integers(0, 4, len(items) + 1)]},
        {},
        {name: _tags(generator, len(items) + 1, size) for name, size in TAGS.items()},
        {"item_age": years},
    )
    return FeatureTables(attributes)


def _tags(generator: np.random.Generator, items: int, size: int) -> Ragged:
    lengths = generator.integers(1, 4, items)
    return Ragged.from_lengths(generator.integers(0, size, lengths.sum()), lengths)


def _encode(interactions: Interactions, tables: FeatureTables, spec: FeatureSpec) -> float:
    started = perf_counter()
    asked = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    engine = InMemoryEngine(interactions, tables, spec, 0.67)
    rows = engine.compute_features(asked)
    engine.encode(engine.fit(rows, (), None), [rows])
    return len(interactions) / (perf_counter() - started)


def _pandas(interactions: Interactions) -> float:
    started = perf_counter()
    table = pd.DataFrame(
        {"user": interactions.user, "item": interactions.item, "time": interactions.time}
    )
    table["label"] = (interactions.value == 10).astype(np.float64)
    for name in ("user", "item"):
        Vocabulary.fit(table[name].to_numpy(), 5).encode(table[name].to_numpy())
        at_once = table.groupby([name, "time"], sort=True)["label"].agg(["size", "sum"])
        before = at_once.groupby(level=0).cumsum() - at_once
        known = table[[name, "time"]].join(before, on=[name, "time"])
        mean = (known["sum"] + 0.67) / (known["size"] + 1)
        for column in (known["size"], mean):
            values = column.to_numpy(np.float64)
            QuantileNormaliser.fit(values, 100).normalise(values)
    return len(interactions) / (perf_counter() - started)
