"""Seconds of what a gate computes: all metrics of both protocols, and 2,000 paired replicates."""

from functools import partial
from time import perf_counter

import numpy as np
from sklearn.metrics import roc_auc_score

from tests.benchmarks.bench_bootstrap import simulate
from tests.benchmarks.speed.rounds import alternate, medians
from widedeep.evaluation.bootstrap import paired_bootstrap
from widedeep.evaluation.scoring import Predictions

REPLICATES = 2000
PEER_REPLICATES = 20
WANTED = {14_000: 3.0, 1_000_000: 60.0}
"""Seconds that the gate may take, by rows."""


def measure(runs: int) -> dict:
    """Median seconds by rows; the peer is a plain loop over scikit-learn, scaled up."""
    found = {"ours": {}, "limits": {}, "peers": {}}
    for rows, wanted in WANTED.items():
        sample = simulate(rows, rows)
        few = rows <= min(WANTED)
        measures = {"ours": partial(_gate, sample)}
        if few:
            measures["loop"] = partial(_loop, sample)
        rates = medians(alternate(measures, runs))
        found["ours"][f"seconds {rows:,} rows"] = 1 / rates["ours"]
        found["limits"][f"wanted seconds {rows:,} rows"] = wanted
        if few:
            found["peers"][f"scikit-learn loop, seconds {rows:,} rows"] = 1 / rates["loop"]
    return found


def _gate(sample: tuple) -> float:
    label, ours, theirs, user = sample
    started = perf_counter()
    moments = np.zeros(len(label), np.int64)
    for scores in (ours, theirs):
        Predictions(user, user, moments, label, scores, scores).measure()
    paired_bootstrap(*sample, generator=np.random.default_rng(0), replicates=REPLICATES)
    return 1 / (perf_counter() - started)


def _loop(sample: tuple) -> float:
    label, ours, theirs, user = sample
    generator, users = np.random.default_rng(0), len(np.unique(user))
    code = np.unique(user, return_inverse=True)[1]
    started = perf_counter()
    for _ in range(PEER_REPLICATES):
        weight = np.bincount(generator.integers(users, size=users), minlength=users)[code]
        for scores in (ours, theirs):
            roc_auc_score(label, scores, sample_weight=weight)
    return PEER_REPLICATES / (perf_counter() - started) / REPLICATES
