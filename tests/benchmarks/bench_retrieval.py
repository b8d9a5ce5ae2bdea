"""Retrieval: what each source finds, what the model makes of the lists, and how long they take.

    python -m tests.benchmarks.bench_retrieval [--data DIR] [--home DIR] [--epochs 2] [--large]

from the project's folder. By default a model is trained on the part before the reference holdout;
with --home the champion of that home answers for what it has not learned from (its gated copy is
judged). --large measures times and memory of 49,000 simulated items and 86,000 users, too. With
JSON=1 in the environment the last line is a JSON object.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tasks.registry import choose_version
from tests.benchmarks.retrieval_report import CUTOFFS, RetrievalReport
from tests.worlds import KMRD, event, ingest
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import simulate
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.scoring import model_scorer
from widedeep.features.attributes import FeatureTables
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.retrieval.retriever import Retriever
from widedeep.store import ArtifactStore
from widedeep.workspace import Workspace

KMRD_SMALL = Path(__file__).resolve().parents[3] / "shared" / "data" / "kmrd-small"
VALIDATION_FROM, HOLDOUT_FROM = 1441884720, 1507421280
LARGE = SimulationConfig(users=86_000, items=49_000, ratings=2_000_000, single_share=0.3)
REQUESTS, WARM_UP = 2000, 100
CHAIN = ("chain", "everything", "retrieved", "popular")


@dataclass(frozen=True)
class World:
    """Ratings, items and a model that has learned from none of the holdout."""

    ratings: IngestedData
    split: Split
    model: TrainedModel


def retrieval_of(
    ratings: IngestedData, model: TrainedModel, interactions: Interactions
) -> Retriever:
    """One that knows `interactions`."""
    side = ratings.side_tables()
    return Retriever.from_interactions(
        model, interactions, FeatureTables.from_side_tables(side), side
    )


def trained(ratings: IngestedData, split: Split, epochs: int) -> TrainedModel:
    """The default preset, trained briefly up to the holdout."""
    ours = get_preset("default", KMRD)
    tables = FeatureTables.from_side_tables(ratings.side_tables())
    ours = replace(ours, training=replace(ours.training, epochs=epochs))
    interactions = ratings.interactions(split.as_of)
    plan = TrainingData.from_parts(
        cold_parts(interactions, tables, split, ours.features, ours.sampling)
    )
    fitting = TrainingRun(plan, ours, None, 0)
    for _ in fitting.epochs():
        pass
    return fitting.trained_model()


def world_of(options: argparse.Namespace, folder: Path) -> World:
    """What the options name."""
    ratings = IngestedData(ingest(options.data, ArtifactStore(folder), int(time.time())))
    end = ratings.last_time + 1
    if options.home is None:
        split = Split(VALIDATION_FROM, HOLDOUT_FROM, end)
        return World(ratings, split, trained(ratings, split, options.epochs))
    found = choose_version(Workspace(options.home), options.model, "champion")
    model = TrainedModel.load(found.version.gated.path)
    return World(ratings, Split(0, model.learned_until, end), model)


def times(retrieval: Retriever, interactions: Interactions, requests: int) -> dict[str, float]:
    """Milliseconds of a request and of a rating, users drawn as often as they rate."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(interactions), requests)
    at = int(interactions.time[-1]) + 1
    seconds = []
    for user in interactions.user[rows].tolist():
        began = time.perf_counter()
        retrieval.candidates(user, at)
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    for user, item in zip(
        interactions.user[rows].tolist(), interactions.item[rows[::-1]].tolist(), strict=True
    ):
        retrieval.update(event(user, item, 10, at))
    observed = (time.perf_counter() - began) / requests
    p50, p99 = np.percentile(np.array(seconds[min(WARM_UP, requests // 2) :]) * 1000, [50, 99])
    return {"p50_ms": float(p50), "p99_ms": float(p99), "observe_ms": observed * 1000}


def measured(ratings: IngestedData, model: TrainedModel, requests: int) -> dict[str, float]:
    """Building, memory and times with all ratings there are."""
    interactions = ratings.interactions()
    tracemalloc.start()
    retrieval = retrieval_of(ratings, model, interactions)
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    began = time.perf_counter()
    retrieval = retrieval_of(ratings, model, interactions)
    sizes = {"items": len(retrieval.items), "ratings": len(interactions)}
    sizes |= {"build_s": time.perf_counter() - began, "memory_mb": held / 1e6}
    return sizes | times(retrieval, interactions, requests)


def large(model: TrainedModel, folder: Path, requests: int) -> dict[str, float]:
    """The same of a simulated item table of KMRD-5m's size."""
    simulate(LARGE, folder / "large")
    ratings = IngestedData(
        ingest(folder / "large", ArtifactStore(folder / "stages"), int(time.time()))
    )
    return measured(ratings, model, requests)


def recall_table(report: RetrievalReport) -> Table:
    """A row a source, both protocols side by side."""
    known = " / ".join(f"{name} {count:,}" for name, count in report.known.items())
    table = Table(title=f"recall of {report.positives:,} positives (with a like before: {known})")
    names = [f"{kind}@{n}" for kind in ("", "with a like ") for n in CUTOFFS]
    for name in ("protocol", "source", *names):
        table.add_column(name, justify="left" if name in {"protocol", "source"} else "right")
    for one in report.recalls:
        found = [part[n] for part in (one.at, one.at_known) for n in CUTOFFS]
        cells = ["-" if value is None else f"{value:.4f}" for value in found]
        table.add_row(one.protocol, one.source, *cells)
    return table


def chain_table(report: RetrievalReport) -> Table:
    """NDCG at 10 of whole lists, and of the items that users rated."""
    table = Table(title="NDCG@10, frozen")
    for name in ("users", "lists", *CHAIN):
        table.add_column(name, justify="right")
    for name, chain in (("all", report.chain), ("with a rating", report.chain_known)):
        if chain is not None:
            figures = (f"{getattr(chain, kind):.4f}" for kind in CHAIN)
            table.add_row(name, f"{chain.users:,}", *figures)
    if report.rated is not None:
        rated = report.rated
        table.add_row(
            "rated films only", "", f"{rated.chain:.4f}", f"{rated.everything:.4f}", "", ""
        )
    return table


def time_table(found: Mapping[str, Mapping[str, float]]) -> Table:
    """A row an item table."""
    columns = list(next(iter(found.values())))
    table = Table(title="building and answering, 100 candidates a request")
    for name in ("data", *columns):
        table.add_column(name, justify="right")
    for name, row in found.items():
        table.add_row(name, *(f"{value:,.3f}".rstrip("0").rstrip(".") for value in row.values()))
    return table


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="bench_retrieval", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=KMRD_SMALL, help="a folder in KMRD's form")
    parser.add_argument("--home", type=Path, help="judge the champion of this home")
    parser.add_argument("--model", help="its name, where the home has several")
    parser.add_argument("--epochs", type=int, default=2, help="of the model trained here")
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--large", action="store_true")
    return parser.parse_args(arguments)


def main() -> None:
    """Run all and print."""
    options = options_of(sys.argv[1:])
    torch.set_num_threads(1)
    console = Console(width=max(120, Console().width))
    with tempfile.TemporaryDirectory() as folder:
        world = world_of(options, Path(folder) / "stages")
        ratings, model, interactions = world.ratings, world.model, world.ratings.interactions()
        scorer = model_scorer(
            model, interactions, FeatureTables.from_side_tables(ratings.side_tables())
        )
        retriever = partial(retrieval_of, ratings, model)
        report = RetrievalReport.of(retriever, interactions, world.split, scorer)
        console.print(recall_table(report), chain_table(report))
        speed = {options.data.name: measured(ratings, model, options.requests)}
        if options.large:
            speed["simulated"] = large(model, Path(folder), options.requests)
    console.print(time_table(speed))
    if os.environ.get("JSON") == "1":
        split = asdict(world.split)
        sys.stdout.write(json.dumps(report.as_json() | {"split": split, "speed": speed}) + "\n")


if __name__ == "__main__":
    main()
