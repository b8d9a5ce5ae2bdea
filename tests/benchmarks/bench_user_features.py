"""What users' features and context are worth, above all to new users, on any data set.

    python -m tests.benchmarks.bench_user_features DIR [--seeds 3]

from the project's folder. The default preset is trained with all features that DIR declares (its
dataset.toml, or what describing it says), and without those of users and of the context. Both
answer for the same holdout, which decides nothing here. New users have no interaction before it.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_families import interval, without
from tests.benchmarks.rankers.problem import Problem
from tests.benchmarks.rankers.report import differences
from widedeep.data.dataset import Side
from widedeep.data.ingest import ingest
from widedeep.data.source import resolve_source
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, first_times
from widedeep.evaluation.scoring import Predictions, model_scorer
from widedeep.features.spec import FeatureSpec
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.metrics import auc
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import get_preset
from widedeep.store import ArtifactStore

FIRST_ROWS = 5


def answers(problem: Problem, features: FeatureSpec, seed: int) -> Predictions:
    """The holdout's answers of the model that validation chose."""
    preset = replace(problem.preset, features=features)
    tables, split = problem.tables, problem.split
    parts = cold_parts(problem.interactions, tables, split, features, preset.sampling)
    fitting = TrainingRun(TrainingData.from_parts(parts), preset, None, seed)
    for _ in fitting.epochs():
        pass
    model = fitting.trained_model()
    return problem.ask(model_scorer(model, problem.interactions, tables), split)


def slices(problem: Problem) -> Mapping[str, NDArray[np.bool_]]:
    """Rows of the holdout: all, of new users, and the first ones of each new user."""
    rows = problem.split.holdout(problem.interactions.time)
    held = problem.interactions.select_rows(rows)
    since = first_times(problem.interactions.user, problem.interactions.time)[rows]
    new = since >= problem.split.holdout_from
    seen: dict[int, int] = {}
    number = np.zeros(len(held), np.int64)
    for row, user in enumerate(held.user.tolist()):
        number[row] = seen[user] = seen.get(user, 0) + 1
    first = new & (number <= FIRST_ROWS)
    every = np.ones(len(held), np.bool_)
    return {"all": every, "new users": new, f"new users' first {FIRST_ROWS}": first}


def select(predictions: Predictions, rows: NDArray[np.bool_]) -> Predictions:
    """Only some rows."""
    names = ("user", "item", "time", "label", "streaming", "frozen")
    return Predictions(*(getattr(predictions, name)[rows] for name in names))


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(prog="bench_user_features", description=__doc__.split("\n")[0])
    parser.add_argument("data", help="a folder of data")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    source = resolve_source(options.data, Path(tempfile.gettempdir()), {})
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder))
        data = IngestedData(ingest(source.folder, source.spec, store, int(time.time())))
        end = data.last_time + 1
        split = Split.from_times(data.interactions(end).time, end)
        problem = Problem.of(data, split, get_preset("default", source.spec))
    spec = source.spec
    names = tuple(f.name for f in spec.features if f.side in {Side.USER, Side.CONTEXT})
    with_all = problem.preset.features
    alone = without(with_all, names)
    ours, theirs = (
        [answers(problem, features, seed) for seed in range(options.seeds)]
        for features in (with_all, alone)
    )
    table = Table("rows", "users", "history", "AUC with", "without", "AUC", "log loss")
    table.box = SIMPLE_HEAD
    table.title = f"{source.name}, {options.seeds} seeds, with and without {', '.join(names)}"
    for name, rows in slices(problem).items():
        pair = [[select(one, rows) for one in runs] for runs in (ours, theirs)]
        for protocol, found in differences(*pair)["mean of seeds"].items():
            scores = [np.mean([auc(r.label, getattr(r, protocol)) for r in runs]) for runs in pair]
            cells = [f"{name} ({rows.sum():,})", f"{found.users:,}", protocol]
            cells += [f"{score:.4f}" for score in scores]
            table.add_row(*cells, *(interval(part) for part in (found.auc, found.log_loss)))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
