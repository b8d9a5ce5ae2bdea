"""Examples a second of our whole training loop, against the matrix products alone.

The limit is the nine products of three layers (forward, gradient of the input, gradient of the
weights), with the library that is fast here: oneDNN for bfloat16, the better of MKL and oneDNN for
float32. Ours is `Trainer` as a retrain calls it: permutation, rows by index, embeddings, both
optimisers, loss.
"""

import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from tests.benchmarks.speed.peer import Peer, save_rows
from tests.benchmarks.speed.rounds import alternate, medians, shares
from tests.benchmarks.speed.training_work import BATCH, HIDDEN, INPUTS, TrainingWork
from widedeep.inputs import Precision
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import NetworkConfig, WideDeep
from widedeep.model.trainer import Optimisers, Trainer, TrainingConfig

PRECISIONS = (Precision.FLOAT32, Precision.BFLOAT16)
LIBRARIES = {"MKL": "highest", "oneDNN": "medium"}
REPEATS = 30
PEER_ROWS = 200 * BATCH


def measure(rows: int, runs: int, threads: int, peers: Sequence[Peer]) -> dict:
    """Rates and shares; `rows` are learned in each run and precision, of peers a part."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    work = TrainingWork.of(rows)
    ours = {f"ours {p}": partial(_epoch, _trainer(work, p, device), work) for p in PRECISIONS}
    limits = {
        f"limit float32 {name}": partial(_products, torch.float32, setting, device)
        for name, setting in LIBRARIES.items()
    }
    limits["limit bfloat16"] = partial(_products, torch.bfloat16, "highest", device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        save_rows(work, PEER_ROWS, path)
        theirs = {peer.name: partial(peer.rate, path, threads) for peer in peers}
        found = alternate({**ours, **limits, **theirs}, runs)
    rates = medians(found)
    best = max((f"limit float32 {name}" for name in LIBRARIES), key=rates.__getitem__)
    return {
        "ours": {name: rates[f"ours {name}"] for name in PRECISIONS},
        "limits": {name: rate for name, rate in rates.items() if name.startswith("limit")},
        "peers": {peer.name: rates[peer.name] for peer in peers},
        "shares": {
            "float32": shares(found, "ours float32", best),
            "bfloat16": shares(found, "ours bfloat16", "limit bfloat16"),
        },
    }


def _trainer(work: TrainingWork, precision: Precision, device: str) -> Trainer:
    draws = torch.Generator().manual_seed(0)
    network = WideDeep(NetworkConfig(hidden=HIDDEN), work.shape, draws).to(device)
    ftrl = FtrlConfig(alpha=0.005, l1=10.0)
    rate = {"batch": BATCH, "learning_rate": 0.002, "catch_up_epochs": 1}
    config = TrainingConfig(**rate, ftrl=ftrl, precision=precision)
    return Trainer(network, Optimisers(network, config), config, np.random.default_rng(0))


def _epoch(trainer: Trainer, work: TrainingWork) -> float:
    started = perf_counter()
    for _ in trainer.catch_up(work.examples, {}, trainer.progress.epoch or 0):
        pass
    return len(work.examples) / (perf_counter() - started)


def _products(dtype: torch.dtype, setting: str, device: str) -> float:
    draws = torch.Generator().manual_seed(0)
    layers = [
        [
            torch.randn(*shape, generator=draws).to(device, dtype)
            for shape in ((BATCH, wide), (narrow, wide), (BATCH, narrow))
        ]
        for wide, narrow in pairwise((INPUTS, *HIDDEN))
    ]
    torch.set_float32_matmul_precision(setting)
    started = perf_counter()
    for _ in range(REPEATS):
        for inputs, weight, gradient in layers:
            inputs @ weight.T, gradient @ weight, gradient.T @ inputs
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = perf_counter() - started
    torch.set_float32_matmul_precision("highest")
    return REPEATS * BATCH / seconds
