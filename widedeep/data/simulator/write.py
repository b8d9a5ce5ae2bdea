"""Write a simulated data set whose truth is known: in KMRD's form, or in a declared one.

Besides the files of the form, `simulate` writes `simulation.json`, which marks a folder as
simulated and holds the settings and the best possible metrics, and `truth.parquet`, the true
probability of a positive label for each interaction.
"""

import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec
from widedeep.data.dataset_file import SPEC_FILE, parse_spec
from widedeep.data.simulator.config import MINUTE, SimulationConfig
from widedeep.data.simulator.declared import DeclaredData, DeclaredFeatures
from widedeep.data.simulator.interactions import (
    POSITIVE,
    SimulatedTraffic,
    SimulatedValues,
    draw_labels,
    draw_traffic,
    draw_values,
    sigmoid,
)
from widedeep.data.simulator.items import FIRST_ITEM, Table, draw_items
from widedeep.data.simulator.truth import PlantedException, SimulatedTruth, draw_truth
from widedeep.inputs import InputError
from widedeep.metrics import auc, log_loss

MARKER = "simulation.json"
TRUTH = "truth.parquet"
EXAMPLE = Path(__file__).with_name("clicks.toml")
_BATCH = 1 << 16

Bools = NDArray[np.bool_]


def simulate(config: SimulationConfig, folder: Path, spec_text: str | None = None) -> None:
    """Write a simulated data set; the same settings always write the same bytes.

    The files are written beside `folder` and appear in it by one rename, all or none.

    Args:
        config: Sizes, shape and seed.
        folder: Where to write; it may exist only if it is empty.
        spec_text: The `dataset.toml` of the form to write, which is written beside the data; KMRD's
            form by default.

    Raises:
        InputError: `folder` is a file or is not empty, or the form cannot be simulated.
    """
    spec = None if spec_text is None else parse_spec(spec_text, folder.name)
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        problem = "is not empty" if folder.is_dir() else "is a file"
        raise InputError(f"{folder} {problem}; expected a new or an empty folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    draft.mkdir()
    try:
        if spec is None or spec_text is None:
            _fill(config, draft)
        else:
            _fill_declared(config, spec, draft)
            (draft / SPEC_FILE).write_text(spec_text, encoding="utf-8")
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def read_form(path: Path) -> str:
    """Return the text of a `dataset.toml`; `clicks` is the example in this folder.

    Raises:
        InputError: The file cannot be read.
    """
    file = EXAMPLE if str(path) == EXAMPLE.stem and not path.exists() else path
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} cannot be read: {error}; expected a dataset.toml, or the word {EXAMPLE.stem}"
        ) from error


def _fill(config: SimulationConfig, folder: Path) -> None:
    items_rng, truth_rng, traffic_rng, values_rng = np.random.default_rng(config.seed).spawn(4)
    item_table = draw_items(config, items_rng)
    truth = draw_truth(config, item_table, truth_rng)
    traffic = draw_traffic(config, item_table, truth.follower(), traffic_rng)
    ratings = draw_values(config, truth, traffic, values_rng)
    for name, table in item_table.tables.items():
        _write_delimited(table, folder / name)
    _write_ratings(traffic, ratings, folder)
    ids = pa.array(FIRST_ITEM + np.arange(config.items))
    _write_marker(config, truth, traffic, ratings, ids, folder, {})


def _fill_declared(config: SimulationConfig, spec: DatasetSpec, folder: Path) -> None:
    """Write files of a declared form, in order of time."""
    seeds = np.random.default_rng(config.seed).spawn(6)
    items_rng, truth_rng, traffic_rng, values_rng, features_rng, files_rng = seeds
    item_table = draw_items(config, items_rng)
    truth = draw_truth(config, item_table, truth_rng)
    traffic = draw_traffic(config, item_table, truth.follower(), traffic_rng)
    features = DeclaredFeatures.draw(spec, config, traffic, features_rng)
    added = features.logits(traffic, config.feature_spread)
    positive, logit, exception = draw_labels(config, truth, traffic, values_rng, added)
    value = np.where(positive, POSITIVE, 1).astype(np.int8)
    ratings = SimulatedValues(value, sigmoid(logit), exception)
    data = DeclaredData(spec, config, traffic, positive, logit, features)
    order = np.argsort(traffic.minute, kind="stable")
    if spec.negatives is not None:  # a log of positives only
        order = order[positive[order]]
    data.write(folder, order, files_rng)
    columns = {
        "user": data.user_ids(traffic.user[order]),
        "item": data.item_ids(traffic.item[order]),
        "time": pa.array(MINUTE * traffic.minute[order].astype(np.int64)),
        "probability": pa.array(ratings.probability[order]),
    }
    pq.write_table(pa.table(columns), folder / TRUTH)
    ids = data.item_ids(np.arange(config.items))
    effects = {"features": features.summary()}
    _write_marker(config, truth, traffic, ratings, ids, folder, effects)


def _write_marker(  # noqa: PLR0917  everything that was drawn
    config: SimulationConfig,
    truth: SimulatedTruth,
    traffic: SimulatedTraffic,
    ratings: SimulatedValues,
    ids: pa.Array,
    folder: Path,
    more: Mapping[str, Any],
) -> None:
    """Write the settings and the truth; `ids` are those of the items, by code."""
    summary = {
        "simulation": asdict(config),
        "known_optimum": _optimum(traffic, ratings),
        "shape": _shape(config, traffic),
        "exceptions": [
            _exception_summary(number, pair, traffic, ratings, ids)
            for number, pair in enumerate(truth.exceptions)
        ],
        **more,
    }
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    (folder / MARKER).write_text(text + "\n", encoding="utf-8")


def _write_ratings(traffic: SimulatedTraffic, ratings: SimulatedValues, folder: Path) -> None:
    # KMRD is sorted by user and item, not by time; the value as third key unsorts repeats, too.
    key = (traffic.user.astype(np.int64) * (int(traffic.item.max()) + 1) + traffic.item) << 4
    order = np.argsort(key + ratings.value, kind="stable")
    user = traffic.user[order].astype(np.int64)
    item = FIRST_ITEM + traffic.item[order].astype(np.int64)
    time = MINUTE * traffic.minute[order].astype(np.int64)
    row = {"user": user, "movie": item}
    rates = pa.table({**row, "rate": ratings.value[order], "time": time})
    _write_delimited(rates, folder / "rates.csv")
    truth = pa.table({**row, "time": time, "probability": ratings.probability[order]})
    pq.write_table(truth, folder / TRUTH)


def _write_delimited(table: Table, path: Path) -> None:
    options = pa_csv.WriteOptions(
        batch_size=_BATCH,
        delimiter="\t" if path.suffix == ".txt" else ",",
        quoting_style="none",
        quoting_header="none",
    )
    pa_csv.write_csv(table, path, options)


def _optimum(traffic: SimulatedTraffic, ratings: SimulatedValues) -> Mapping[str, Any]:
    """Measure the true probabilities themselves, on all rows and on the first of each pair."""
    every = np.ones(traffic.user.size, np.bool_)
    return {
        "all_rows": _measure(ratings, every),
        "examples": _measure(ratings, _is_first(traffic)),
    }


def _measure(ratings: SimulatedValues, rows: Bools) -> Mapping[str, Any]:
    label, probability = ratings.value[rows] == POSITIVE, ratings.probability[rows]
    return {
        "rows": label.size,
        "positive_share": float(label.mean()),
        "mean_probability": float(probability.mean()),
        "auc": auc(label, probability) if label.any() and not label.all() else None,
        "log_loss": log_loss(label, probability),
    }


def _shape(config: SimulationConfig, traffic: SimulatedTraffic) -> Mapping[str, Any]:
    """Measure what the settings determine only approximately."""
    month = traffic.minute.astype("datetime64[m]").astype("datetime64[M]")
    start = np.flatnonzero(np.diff(traffic.user, prepend=-1))
    count = np.diff(start, append=traffic.user.size)
    is_later = traffic.minute > (config.since + config.until) // (2 * MINUTE)
    is_cold = month == np.repeat(month[start], count)
    return {
        "rated_items": np.unique(traffic.item).size,
        "single_share": float((count == 1).mean()),
        "most_ratings_of_a_user": int(count.max()),
        "cold_share": _share(is_cold[is_later]),
        "repeats": int((~_is_first(traffic)).sum()),
    }


def _exception_summary(
    number: int,
    pair: PlantedException,
    traffic: SimulatedTraffic,
    ratings: SimulatedValues,
    ids: pa.Array,
) -> Mapping[str, Any]:
    """Describe one planted pair; its support counts first ratings only, as models learn these."""
    rated = (traffic.item == pair.candidate) & _is_first(traffic)
    applied = ratings.exception[rated] == number
    positive = ratings.value[rated] == POSITIVE
    return {
        "liked": ids[pair.liked].as_py(),
        "candidate": ids[pair.candidate].as_py(),
        "effect": pair.effect,
        "support": int(applied.sum()),
        "positive_share": _share(positive[applied]),
        "positive_share_otherwise": _share(positive[~applied]),
    }


def _share(rows: Bools) -> float | None:
    return float(rows.mean()) if rows.size else None


def _is_first(traffic: SimulatedTraffic) -> Bools:
    first: Bools = traffic.first == np.arange(traffic.first.size)
    return first
