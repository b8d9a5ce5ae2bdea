"""Planted truth: how near the default preset comes to the optimum on simulated ratings, and what
of the truth it recovers.

    python -m tests.benchmarks.bench_planted [--seeds 2] [--times 1]

from the project's folder. Each seed is a world of its own, as large as KMRD-small (or so many times
as large: as many items, more users and ratings), with a model of its own. `attainable` is the best
score from the ratings known by then for someone who knows the items (see
`tests.benchmarks.planted_truth`). With JSON=1 in the environment the last line is a JSON object. A
seed takes some minutes; run it alone.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from tests.benchmarks.planted_truth import (
    PlantedTruth,
    TasteRecovery,
    WideRecovery,
    attainable_scores,
    recover_exceptions,
    recover_taste,
)
from tests.benchmarks.rankers.problem import Problem
from tests.worlds import KMRD, ingest
from widedeep import metrics
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import simulate
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.evaluation.scoring import Predictions, baseline_scorer, model_scorer, slice_masks
from widedeep.features.training_data import PROTOCOLS
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.store import ArtifactStore

BEST, OURS, MEAN = "attainable", "model", "user+movie mean"
PARTS = ("all", "new_user", "returning_user")
WIDTH = 140

Aucs = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By ranker, protocol and part of the holdout."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """What one model reached in one world."""

    auc: Aucs
    wide: WideRecovery
    taste: TasteRecovery

    def as_json(self) -> dict:
        """JSON values."""
        wide = {"precision": self.wide.precision, "recall": self.wide.recall}
        gap = {
            ranker: {
                protocol: self.auc[BEST][protocol]["all"] - self.auc[ranker][protocol]["all"]
                for protocol in PROTOCOLS
            }
            for ranker in (OURS, MEAN)
        }
        return asdict(self) | {"wide": asdict(self.wide) | wide, "gap": gap}


def world(seed: int, times: int) -> SimulationConfig:
    """As large as KMRD-small, or so many `times` its users and ratings."""
    small = SimulationConfig(seed=seed)
    return replace(small, users=times * small.users, ratings=times * small.ratings)


def recover(simulation: SimulationConfig, folder: Path) -> Recovered:
    """Simulate, train and measure."""
    seed = simulation.seed
    simulate(simulation, folder / "world")
    planted = PlantedTruth.load(folder / "world")
    ratings = IngestedData(
        ingest(folder / "world", ArtifactStore(folder / "stages"), int(time.time()))
    )
    end = ratings.last_time + 1
    problem = Problem.of(
        ratings, Split.from_times(ratings.interactions(end).time, end), get_preset("default", KMRD)
    )
    model = train(problem, seed)
    interactions, tables = problem.interactions, problem.tables
    scorers = {
        BEST: attainable_scores(planted, interactions),
        OURS: model_scorer(model, interactions, tables),
        MEAN: baseline_scorer(model.transform, interactions, tables),
    }
    return Recovered(
        {name: aucs(problem, problem.ask(score, problem.split)) for name, score in scorers.items()},
        recover_exceptions(model, planted),
        recover_taste(model, planted, interactions, tables),
    )


def train(problem: Problem, seed: int) -> TrainedModel:
    """A cold start, as the training stage does it."""
    fitting = TrainingRun(problem.plan, problem.preset, None, seed)
    for epoch in fitting.epochs():
        sys.stderr.write(f"seed {seed}, epoch {epoch.epoch}: {epoch.seconds:.0f} s\n")
    return fitting.trained_model()


def aucs(problem: Problem, found: Predictions) -> dict[str, dict[str, float]]:
    """By protocol and part of the holdout."""
    masks = slice_masks(problem.interactions, problem.split)
    parts = {name: masks.get(name, slice(None)) for name in PARTS}
    return {
        protocol: {
            name: metrics.auc(found.label[part], getattr(found, protocol)[part])
            for name, part in parts.items()
        }
        for protocol in PROTOCOLS
    }


def quality_table(runs: Sequence[Recovered]) -> Table:
    """AUC of each ranker, and the gap to the optimum, by part of the holdout."""
    columns = [(protocol, part) for protocol in PROTOCOLS for part in PARTS]
    headings = [f"{protocol}\n{part.replace('_', ' ')}" for protocol, part in columns]
    table = Table("AUC", *headings, title=f"Holdout, {len(runs)} worlds", box=SIMPLE_HEAD)
    for name in (BEST, OURS, MEAN):
        table.add_row(name, *(spread(run.auc[name][p][q] for run in runs) for p, q in columns))
    for name in (OURS, MEAN):
        gaps = (
            spread(run.auc[BEST][p][q] - run.auc[name][p][q] for run in runs) for p, q in columns
        )
        table.add_row(f"gap, {name}", *gaps)
    return table


def exception_table(wide: WideRecovery) -> Table:
    """The planted pairs beside what the wide part holds of them."""
    table = Table("liked", "item", "effect", "support", "weight", "rank", box=SIMPLE_HEAD)
    for found in wide.exceptions:
        pair, rank = found.planted, str(found.rank or "-")
        weights = f"{pair.effect:+.2f}", str(found.support), f"{found.weight:+.3f}", rank
        table.add_row(str(pair.liked), str(pair.candidate), *weights)
    return table


def spread(values: Iterable[float]) -> str:
    """Mean ± standard deviation over the worlds."""
    numbers = list(values)
    numbers = [mean(numbers), *([stdev(numbers)] if len(numbers) > 1 else [])]
    return " ±".join(f"{number:.4f}" for number in numbers)


def show(runs: Sequence[Recovered], console: Console) -> None:
    """Print everything."""
    console.print(quality_table(runs))
    for seed, wide in enumerate(run.wide for run in runs):
        console.print(
            f"World {seed}, planted exceptions: precision {wide.precision:.3f} among the "
            f"{wide.seen} heaviest of {wide.crosses:,} crosses liked x item "
            f"({wide.nonzero:,} with a weight), recall {wide.recall:.3f}"
        )
        console.print(exception_table(wide))
    deep, bound = (spread(getattr(run.taste, name) for run in runs) for name in ("deep", BEST))
    console.print(f"Rank correlation with the true taste: deep part {deep}, attainable {bound}")


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(prog="bench_planted", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    runs = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(recover(world(seed, options.times), Path(folder)))
    show(runs, Console(width=max(WIDTH, Console().width)))
    if os.environ.get("JSON") == "1":
        sys.stdout.write(json.dumps({"worlds": [run.as_json() for run in runs]}) + "\n")


if __name__ == "__main__":
    main()
