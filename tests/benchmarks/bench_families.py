"""What each family of features is worth, and what it costs a ranking server.

    python -m tests.benchmarks.bench_families [--data DIR] [--seeds 1]

from the project's folder. The default preset is trained on KMRD-small's reference split with all
its features, and without one family at a time. Worth is what validation loses without it (nobody
looks at the holdout): log loss and AUC of both protocols, with a paired 95 % interval over users.
Cost is the time of a request of 200 items in process, with and without it, and how many numbers are
kept a user and an item. Run it alone.
"""

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks.bench_rankers import KMRD_SMALL, SPLITS
from tests.benchmarks.rankers.problem import Problem
from tests.benchmarks.rankers.report import differences
from tests.worlds import KMRD, ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.history import ITEM_NUMERIC, USER_NUMERIC
from widedeep.features.spec import FeatureSpec
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import Preset, get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.ranker import Ranker
from widedeep.store import ArtifactStore

ONLINE = ("expected_logit", "mean_plus_residual")
FAMILIES = {
    "online model": ONLINE,
    "user's numbers": USER_NUMERIC,
    "movie's numbers": ITEM_NUMERIC,
    "user's residual by genre": ("user_genres_residual",),
    "residual by person": ("people_residual",),
    "activity groups": ("item_group_residual", "item_late_group_residual"),
    "global means": ("global_first_mean", "global_later_mean"),
    "staleness": ("staleness",),
    "remembered movies": ("liked", "disliked"),
    "attributes": ("grade", "genres", "countries", "leading", "item_age"),
    "all crosses": (),
}
CANDIDATES, REQUESTS = 200, 600


def without(spec: FeatureSpec, names: tuple[str, ...]) -> FeatureSpec:
    """The spec with nothing that is made of the named features; without names, with no cross."""
    buckets = tuple(bucket for bucket in spec.buckets if bucket.number not in names)
    gone = {*names, *(b.name for b in spec.buckets if b.number in names)}
    crosses = tuple(cross for cross in spec.crosses if not gone & {*cross.parts})
    return replace(
        spec,
        categories=tuple(one for one in spec.categories if one.name not in gone),
        bags=tuple(bag for bag in spec.bags if bag.name not in gone),
        numbers=tuple(number for number in spec.numbers if number.name not in gone),
        buckets=buckets,
        crosses=crosses if names else (),
        wide=tuple(name for name in spec.wide if name not in gone),
        prior_logit=None if spec.prior_logit in gone else spec.prior_logit,
    )


def train(problem: Problem, chosen: Preset, seed: int):
    """The model that validation chose, and its answers there."""
    parts = (
        problem.interactions,
        problem.tables,
        problem.split,
        chosen.features,
        chosen.sampling,
    )
    fitting = TrainingRun(TrainingData.from_parts(cold_parts(*parts)), chosen, None, seed)
    for _ in fitting.epochs():
        pass
    scorer = model_scorer(fitting.selected_model, problem.interactions, problem.tables)
    return fitting.selected_model, problem.ask(scorer, problem.validation)


def milliseconds(problem: Problem, model: TrainedModel) -> float:
    """Median of a request on one thread, features included; every second user is a stranger."""
    ranker = Ranker.from_interactions(model, problem.interactions, problem.tables)
    torch.set_num_threads(1)
    generator = np.random.default_rng(0)
    users, items = (
        generator.choice(problem.interactions.user, REQUESTS),
        np.unique(problem.interactions.item),
    )
    users[::2] = -1 - np.arange(len(users[::2]))
    took = []
    for user in users:
        candidates = generator.choice(items, CANDIDATES, replace=False)
        started = time.perf_counter()
        ranker.rank(int(user), candidates, ranker.known_until, 10)
        took.append(time.perf_counter() - started)
    torch.set_num_threads(os.cpu_count() or 1)
    return 1000 * float(np.median(took))


def interval(found) -> str:
    return f"{found.difference:+.4f} \\[{found.low:+.4f}, {found.high:+.4f}]"


def measure(problem: Problem, name: str, spec: FeatureSpec, seeds: int):
    chosen = replace(problem.preset, features=spec)
    runs = [train(problem, chosen, seed) for seed in range(seeds)]
    cost = milliseconds(problem, runs[0][0])
    sys.stderr.write(f"{name}: {cost:.2f} ms\n")
    return [answers for _, answers in runs], cost


def main() -> None:
    """Train, compare, print."""
    parser = argparse.ArgumentParser(prog="bench_families", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=KMRD_SMALL, help="a folder in KMRD's form")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    spec = get_preset("default", KMRD).features
    with tempfile.TemporaryDirectory() as workspace:
        ratings = IngestedData(
            ingest(options.data, ArtifactStore(Path(workspace)), int(time.time()))
        )
        validation_from, holdout_from, _ = SPLITS["reference"]
        end = ratings.last_time + 1
        split = Split.from_times(ratings.interactions(end).time, end, validation_from, holdout_from)
        problem = Problem.of(ratings, split, get_preset("default", KMRD))
    whole, cost = measure(problem, "everything", spec, options.seeds)
    headings = ("streaming\nlog loss", "streaming\nauc", "frozen\nlog loss", "frozen\nauc")
    table = Table("without", *headings, "ms a request", box=SIMPLE_HEAD)
    table.title = f"validation, against everything ({cost:.2f} ms), {options.seeds} seeds"
    for column in table.columns:
        column.no_wrap = True
    for name, names in FAMILIES.items():
        answers, took = measure(problem, name, without(spec, names), options.seeds)
        found = differences(answers, whole)["mean of seeds"]
        cells = [interval(part) for one in found.values() for part in (one.log_loss, one.auc)]
        table.add_row(name, *cells, f"{took:.2f}")
    Console(width=170).print(table)


if __name__ == "__main__":
    main()
