"""Ranking in process: latency of a request, the paper's table 2, scores a second.

    python -m tests.benchmarks.bench_ranking [KMRD-small folder]

Both presets' models are trained here, cold, for one epoch. A request is one user (half of them
returning, half strangers, as in the traffic) with 200 items, features included. JSON=1 in the
environment ends the output with one JSON object. Run it alone: another process on the same cores
doubles everything, and the load that is printed tells of it.
"""

import json
import logging
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from tests.worlds import KMRD, ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData, Interactions
from widedeep.evaluation.snapshot import DataSnapshot
from widedeep.features.attributes import FeatureTables
from widedeep.features.training_data import TrainingData, cold_parts
from widedeep.model.fitting import TrainingRun
from widedeep.model.presets import get_preset
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.batch_ranking import BatchRanking
from widedeep.serving.ranker import Ranker
from widedeep.store import ArtifactStore

PRESETS = ("paper", "default")
CANDIDATES, K = 200, 10
REQUESTS, SLICED, PYFUNC, BATCH_USERS = 2000, 400, 20, 1000
PAPER = {(200, 1): 31, (100, 2): 17, (50, 4): 14}
"""Milliseconds by batch and threads: table 2 of the paper."""
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Data:
    """KMRD, with the files that a registered model would carry."""

    interactions: Interactions
    tables: FeatureTables
    history: Path

    @classmethod
    def of(cls, kmrd, folder):
        ratings = IngestedData(ingest(kmrd, ArtifactStore(folder / "stages"), int(time.time())))
        history = folder / "history"
        history.mkdir()
        known = DataSnapshot.from_tables(ratings.interactions(), ratings.side_tables())
        known.save(history)
        return cls(known.interactions, known.tables, history)

    def train(self, name, folder):
        """A model of the preset after one epoch."""
        chosen = get_preset(name, KMRD)
        training = replace(chosen.training, epochs=1, catch_up_epochs=1)
        split = Split(1441884720, 1507421280, int(self.interactions.time[-1]) + 1)
        parts = self.interactions, self.tables, split, chosen.features, chosen.sampling
        fitting = TrainingRun(
            TrainingData.from_parts(cold_parts(*parts)), replace(chosen, training=training), None, 0
        )
        for _ in fitting.epochs():
            pass
        folder.mkdir()
        fitting.trained_model().save(folder)
        return folder

    def requests(self, count, size):
        """Users and candidates; every second user is a stranger."""
        generator = np.random.default_rng(0)
        users = generator.choice(self.interactions.user, count)
        users[::2] = -1 - np.arange(len(users[::2]))
        items = np.unique(self.interactions.item)
        return [(int(user), generator.choice(items, size, replace=False)) for user in users]


def milliseconds(ask, requests, clock=time.perf_counter):
    """Time of each request, (n,)."""
    took = []
    for request in requests:
        started = clock()
        ask(*request)
        took.append(clock() - started)
    return 1000 * np.array(took)


def quantiles(took):
    return {"p50": float(np.median(took)), "p99": float(np.percentile(took, 99))}


def latency(ranker, data, threads):
    """p50 and p99 of a request whose matrix products use so many threads; and of its features.

    Seconds of the asking thread's processor tell what a busy machine hides.
    """
    at, requests = ranker.known_until, data.requests(REQUESTS, CANDIDATES)

    def ask(user, items):
        ranker.rank(user, items, at, K)

    torch.set_num_threads(threads)
    found = quantiles(milliseconds(ask, requests))
    found["cpu p50"] = float(np.median(milliseconds(ask, requests, time.thread_time)))
    torch.set_num_threads(1)
    read = milliseconds(lambda user, items: ranker.state.read(user, items, at), requests)
    return found | {"features p50": float(np.median(read))}


def sliced(ranker, data, threads):
    """Milliseconds of a request cut into slices that are scored side by side."""
    at, requests = ranker.known_until, data.requests(SLICED, CANDIDATES)
    with ThreadPoolExecutor(threads) as pool:

        def ask(user, items):
            list(pool.map(lambda part: ranker.scores(user, part, at), np.split(items, threads)))

        return float(np.median(milliseconds(ask, requests)))


def a_second(ranker, data, workers):
    """Scores a second of requests by so many clients at once, and of whole catalogues."""
    at, requests = ranker.known_until, data.requests(REQUESTS, CANDIDATES)
    started = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda request: ranker.rank(*request, at, K), requests))
    in_requests = CANDIDATES * len(requests) / (time.perf_counter() - started)
    users = np.random.default_rng(0).choice(
        np.unique(data.interactions.user), BATCH_USERS, replace=False
    )
    batch = BatchRanking.prepare(ranker, data.tables.items.ids, at, K)
    started = time.perf_counter()
    for _ in batch.lists(users, workers):
        pass
    scores = len(users) * len(data.tables.items.ids)
    return {"requests": in_requests, "batch": scores / (time.perf_counter() - started)}


def pyfunc(model, data, folder):
    """Milliseconds of the same request through the registered form of the model."""
    mlflow.pyfunc.save_model(
        path=str(folder),
        python_model=str(PROJECT / "tasks" / "served_model.py"),
        artifacts={"model": str(model), "history": str(data.history)},
        pip_requirements=["numpy"],
    )
    served = mlflow.pyfunc.load_model(str(folder))

    def ask(user, items):
        served.predict(pd.DataFrame({"user": user, "item": items}))

    return float(np.median(milliseconds(ask, data.requests(PYFUNC, CANDIDATES))[2:]))


def measure(name, data, folder):
    """All figures of one preset."""
    model = data.train(name, folder / name)
    started = time.perf_counter()
    snapshot = DataSnapshot.load(data.history)
    ranker = Ranker.from_interactions(
        TrainedModel.load(model), snapshot.interactions, snapshot.tables
    )
    loaded = time.perf_counter() - started
    torch.set_num_threads(1)
    return {
        "precision": str(ranker.scorer.deep.tower.dtype).removeprefix("torch."),
        "load s": loaded,
        "latency": {str(threads): latency(ranker, data, threads) for threads in (1, 2)},
        "table 2": {f"{size} x {n}": sliced(ranker, data, n) for size, n in PAPER},
        "scores a second": {str(n): a_second(ranker, data, n) for n in (1, 2)},
        "pyfunc ms": pyfunc(model, data, folder / f"{name}-pyfunc"),
    }


def show(name, found, console):
    """Tables for people."""
    console.print(f"\n[bold]{name}[/bold], {found['precision']}, loaded in {found['load s']:.1f} s")
    columns = ("threads", "p50 ms", "p99 ms", "cpu p50 ms", "features p50 ms", "scores/s", "batch")
    table = Table(*columns)
    for threads, one in found["latency"].items():
        figures = [f"{one[key]:.2f}" for key in ("p50", "p99", "cpu p50", "features p50")]
        many = found["scores a second"][threads].values()
        table.add_row(threads, *figures, *(f"{value:,.0f}" for value in many))
    console.print(table)
    table = Table("batch x threads", "ms", "paper's ms", title="table 2")
    for (key, ours), theirs in zip(found["table 2"].items(), PAPER.values(), strict=True):
        table.add_row(key, f"{ours:.2f}", str(theirs))
    console.print(table)
    console.print(f"the same request through the registered pyfunc: {found['pyfunc ms']:.0f} ms")


def main():
    """Measure and print."""
    default = PROJECT.parent / "shared" / "data" / "kmrd-small"
    kmrd = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    console = Console()
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as name:
        data = Data.of(kmrd, Path(name))
        found = {chosen: measure(chosen, data, Path(name)) for chosen in PRESETS}
    for chosen, one in found.items():
        show(chosen, one, console)
    console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if os.environ.get("JSON") == "1":
        print(json.dumps(found | {"load": os.getloadavg()[0], "cores": os.cpu_count()}))


if __name__ == "__main__":
    main()
