"""What Ray costs and gives: seconds of each stage by engine, and bytes a training step sends.

    python -m tests.benchmarks.bench_ray [--ratings 50000 500000] [--runs 3] [--engines local 1 2]

Each data set is simulated (58 ratings a user, one item for a hundred ratings). Engines are `local`
(one process, two threads) and Ray with so many workers of one thread each; features must come out
the same, byte by byte. An epoch is the first one of the default preset, its seconds are those that
its first worker took; `start` is what passes before it. Run it alone: two heavy jobs slow each
other fourfold.
"""

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table

from tasks.engine import LOCAL, Engine
from tests.worlds import KMRD, ingest
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import simulate
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.features.attributes import FeatureTables
from widedeep.features.training_data import TrainingData, cold_parts, example_queries
from widedeep.inputs import EngineName
from widedeep.model.batch import BatchSlice, Minibatch
from widedeep.model.fitting import TrainingJob
from widedeep.model.network import InputShape, WideDeep
from widedeep.model.presets import PRESETS, get_preset
from widedeep.model.trainer import Optimisers, Trainer
from widedeep.store import ArtifactStore
from widedeep.workspace import Workspace

NOW = 1_800_000_000
STAGES = ("connect", "ingest", "features", "start", "epoch", "scores")
RATINGS_A_USER, RATINGS_A_ITEM = 58, 100


def world(folder, ratings):
    """A simulated folder in KMRD's form."""
    users, items = ratings // RATINGS_A_USER, max(ratings // RATINGS_A_ITEM, 100)
    simulate(SimulationConfig(users=users, items=items, ratings=ratings, single_share=0.1), folder)
    return folder


def engine_of(text):
    return LOCAL if text == "local" else Engine(engine=EngineName.RAY, workers=int(text))


def settings(name="default"):
    """A preset that trains for an epoch and catches up for another."""
    found = get_preset(name, KMRD)
    training = replace(found.training, epochs=1, patience=1, catch_up_epochs=1)
    return replace(found, training=training)


class Stages:
    """Seconds by stage of one run."""

    def __init__(self):
        self.seconds = {}

    def time(self, name, work):
        started = time.perf_counter()
        found = work()
        self.seconds[name] = time.perf_counter() - started
        return found


def run(engine, data, workspace):
    """One run of all stages; returns seconds by stage and the folder of the features."""
    stages, chosen = Stages(), settings()
    running = engine.running(Workspace(workspace))
    stages.time("connect", running.__enter__)
    try:
        store = ArtifactStore(workspace / "stages")
        artifact = stages.time(
            "ingest", lambda: ingest(data, store, NOW, None, engine.row_checker())
        )
        ratings = IngestedData(artifact)
        interactions, tables = (
            ratings.interactions(),
            FeatureTables.from_side_tables(ratings.side_tables()),
        )
        split = Split.from_times(interactions.time, int(interactions.time[-1]) + 1, None, None)
        learned = chosen.features, chosen.sampling
        plan = stages.time(
            "features",
            lambda: TrainingData.from_parts(
                cold_parts(
                    interactions,
                    tables,
                    split,
                    *learned,
                    make_engine=engine.feature_engines(workspace),
                )
            ),
        )
        plan.save(workspace / "plan")
        del plan  # workers read the files; of five million ratings it takes four gigabytes
        model = train(
            engine, TrainingJob(workspace / "plan", chosen, None, 0), workspace / "model", stages
        )
        asked = example_queries(interactions, split.holdout(interactions.time))
        scorer = engine.scorer(model, interactions, tables)
        stages.time("scores", lambda: scorer(asked))
    finally:
        running.__exit__(None, None, None)
    return stages.seconds, workspace / "plan"


def train(engine, training, folder, stages):
    started = time.perf_counter()
    with engine.training(training, folder) as fitting:
        epochs = fitting.epochs()
        first = next(epochs)
        stages.seconds["epoch"] = first.seconds
        stages.seconds["start"] = time.perf_counter() - started - first.seconds
        list(epochs)
        return fitting.trained_model()


def same(one, other):
    """Whether two folders hold the same files, byte by byte."""
    contents = [
        {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        for root in (one, other)
    ]
    return contents[0] == contents[1]


def measure(data, ratings, engines, runs, console):
    """All engines on one data set, alternating."""
    found = {name: [] for name in engines}
    equal = True
    with tempfile.TemporaryDirectory(dir=data.parent) as root:
        for i in range(runs):
            first = None
            for name in engines:
                workspace = Path(root) / f"{name}-{i}"
                workspace.mkdir()
                seconds, plan = run(engine_of(name), data, workspace)
                found[name].append(seconds)
                equal = equal and (first is None or same(first, plan))
                first = first or plan
            for name in engines:
                shutil.rmtree(Path(root) / f"{name}-{i}")
    show(found, ratings, runs, equal, console)


def show(found, ratings, runs, equal, console):
    title = f"{ratings:,} ratings, seconds (median of {runs}); features are the same: {equal}"
    table = Table("engine", *STAGES, "features, µs a rating", title=title)
    for name, all_runs in found.items():
        seconds = {stage: median(run[stage] for run in all_runs) for stage in STAGES}
        figures = [f"{seconds[stage]:.2f}" for stage in STAGES]
        table.add_row(name, *figures, f"{1e6 * seconds['features'] / ratings:.0f}")
    console.print(table)


def bytes_a_step(name, plan, replicas, steps=20):
    """What one process hands over in a step: of dense gradients, of sparse ones, of whole tables.

    A ring passes dense ones on 2 (n - 1) / n times, sparse ones n - 1 times.
    """
    chosen, rows = get_preset(name, KMRD), plan.initial.training
    network = WideDeep(
        chosen.network, InputShape.from_transform(plan.initial.transform), torch.Generator()
    )
    optimisers = Optimisers(network, chosen.training)
    trainer = Trainer(network, optimisers, chosen.training, None)
    batch, sparse, dense = chosen.training.batch, [], 0
    tables = 0
    for step in range(steps):
        start = step * batch // replicas
        part = slice(0, batch // replicas)
        network.train()
        network.zero_grad(set_to_none=True)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(start)).numpy()
        taken = rows.select_rows(order[part])
        kept = network.draw_masks(BatchSlice(batch, part))
        trainer._loss(Minibatch.from_examples(taken, kept, network.bias.device)).backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        named = [g.coalesce() for g in gradients if g.is_sparse]
        sparse.append(sum(8 * g.indices().numel() + 4 * g.values().numel() for g in named))
        dense = sum(4 * g.numel() for g in gradients if not g.is_sparse)
        tables = sum(4 * g.numel() for g in gradients if g.is_sparse)
    return dense, int(median(sparse)), tables


def show_traffic(data, console):
    """Bytes by preset and number of processes."""
    table = Table("preset", "processes", "dense kB", "sparse kB", "tables as dense kB")
    with tempfile.TemporaryDirectory() as root:
        ratings = IngestedData(ingest(data, ArtifactStore(Path(root)), NOW))
        interactions, tables = (
            ratings.interactions(),
            FeatureTables.from_side_tables(ratings.side_tables()),
        )
    split = Split.from_times(interactions.time, int(interactions.time[-1]) + 1, None, None)
    for name in PRESETS:
        chosen = get_preset(name, KMRD)
        plan = TrainingData.from_parts(
            cold_parts(interactions, tables, split, chosen.features, chosen.sampling)
        )
        for replicas in (2, 16):
            figures = bytes_a_step(name, plan, replicas)
            table.add_row(name, str(replicas), *(f"{value / 1e3:,.0f}" for value in figures))
    console.print(table)


def main():
    """Run all and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--ratings", type=int, nargs="+", default=[50_000, 500_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engines", nargs="+", default=["local", "1", "2"])
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as root:
        for ratings in given.ratings:
            data = world(Path(root) / f"sim-{ratings}", ratings)
            if ratings == given.ratings[0]:
                show_traffic(data, console)
            measure(data, ratings, given.engines, given.runs, console)


if __name__ == "__main__":
    main()
