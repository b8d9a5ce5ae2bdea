"""Seconds of a paired bootstrap, against a plain loop over scikit-learn's weighted AUC.

Run from the project's folder: python -m tests.benchmarks.bench_bootstrap
The loop does fewer replicates and is scaled up; both draw users and score both models on each draw.
"""

import sys
from statistics import median
from time import perf_counter

import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from widedeep.evaluation.bootstrap import paired_bootstrap

REPLICATES = 2000
RUNS = 5
# Rows, users drawn from, replicates of the plain loop; 14,000 is KMRD-small's holdout.
SIZES = ((14_000, 15_000, 40), (200_000, 150_000, 5))


def simulate(rows, users):
    generator = np.random.default_rng(0)
    logit = generator.normal(0.8, 1.2, size=rows)
    label = generator.random(rows) < 1 / (1 + np.exp(-logit))
    noisy = logit + generator.normal(0, 0.5, size=(2, rows))
    return label, *(1 / (1 + np.exp(-noisy))), generator.integers(users, size=rows)


def ours(sample, replicates):
    paired_bootstrap(*sample, generator=np.random.default_rng(1), replicates=replicates)


def plain_loop(sample, replicates):
    label, *models, user = sample
    generator = np.random.default_rng(1)
    distinct, code = np.unique(user, return_inverse=True)
    users, differences = len(distinct), []
    for _ in range(replicates):
        drawn = generator.integers(users, size=users)
        weight = np.bincount(drawn, minlength=users)[code]
        auc = [roc_auc_score(label, model, sample_weight=weight) for model in models]
        loss = [log_loss(label, model, sample_weight=weight) for model in models]
        differences.append((auc[0] - auc[1], loss[0] - loss[1]))
    return np.quantile(differences, [0.025, 0.975], axis=0)


def median_seconds(run, sample, replicates):
    seconds = []
    for _ in range(RUNS):
        start = perf_counter()
        run(sample, replicates)
        seconds.append(perf_counter() - start)
    return median(seconds)


def main():
    ours(simulate(100, 50), 10)
    sys.stdout.write(f"{REPLICATES} replicates, median seconds of {RUNS} runs\n")
    sys.stdout.write(f"{'rows':>9} {'users':>9} {'ours':>8} {'plain loop':>11} {'ratio':>6}\n")
    for rows, users, few in SIZES:
        sample = simulate(rows, users)
        fast = median_seconds(ours, sample, REPLICATES)
        slow = median_seconds(plain_loop, sample, few) * REPLICATES / few
        found = len(np.unique(sample[-1]))
        line = f"{rows:>9,} {found:>9,} {fast:>8.2f} {slow:>11.1f} {slow / fast:>6.0f}\n"
        sys.stdout.write(line)


if __name__ == "__main__":
    main()
