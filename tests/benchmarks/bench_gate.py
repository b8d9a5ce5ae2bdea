"""How often the gate errs: promotions of models that are no better, and of those that are.

Run from the project's folder: python -m tests.benchmarks.bench_gate [--trials N] [--plot FILE]
Each trial draws a world (users with tastes, rows, labels), a champion and a challenger whose errors
are partly shared, as those of a model and its successor are, and whose true difference of AUC is
known. The gate is the one that `retrain` uses, with 500 replicates instead of 2,000; beside it
stands what most pipelines do: promote if the number is higher.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist

import numpy as np
from scipy.optimize import brentq

from widedeep import metrics
from widedeep.evaluation.comparison import measure_guardrails, streaming_difference, streaming_score
from widedeep.evaluation.gate import GateConfig, Verdict, decide_against_champion
from widedeep.evaluation.lists import TopLists
from widedeep.evaluation.scoring import Predictions
from widedeep.evaluation.sequential import HoldoutWindow, pool_windows

GATE = GateConfig(replicates=500)
SIZES = (3_500, 7_000, 14_000, 28_000)
GAINS = (0.0, 0.002, 0.005, 0.01)
WINDOWS = 4
TASTE, ITEM = 1.2, 0.9
SHARED, OWN = 0.55, 0.25
"""Standard deviations, in logits: of the truth by user and item, of the two models' errors."""
LISTS = TopLists(np.arange(20), np.arange(200).reshape(20, 10))


@dataclass(frozen=True)
class World:
    """Rows with a known truth, and the error that both models share."""

    user: np.ndarray
    label: np.ndarray
    truth: np.ndarray
    shared: np.ndarray
    generator: np.random.Generator

    @classmethod
    def draw(cls, rows, generator):
        """Half of the rows are of users with one row, the rest of heavy ones, as in KMRD."""
        singles = rows // 2
        heavy = singles + generator.integers(0, max(rows // 12, 1), rows - singles)
        user = np.concatenate([np.arange(singles), heavy])
        taste = generator.normal(0, TASTE, user.max() + 1)[user]
        truth = 0.9 + taste + generator.normal(0, ITEM, rows)
        label = generator.random(rows) < 1 / (1 + np.exp(-truth))
        return cls(user, label, truth, _error(user, SHARED, generator), generator)

    def scores(self, own):
        """Calibrated probabilities of a model with its `own` error beside the shared one."""
        noisy = self.truth + self.shared + _error(self.user, own, self.generator)
        spread = TASTE**2 + ITEM**2
        wrong = SHARED**2 + own**2
        logit = 0.9 + (noisy - 0.9) * spread / (spread + wrong)
        left = spread * wrong / (spread + wrong)
        return 1 / (1 + np.exp(-logit / np.sqrt(1 + np.pi * left / 8)))

    def predictions(self, own):
        probability = self.scores(own)
        rows = np.arange(len(self.user))
        return Predictions(self.user, rows % 50, rows, self.label, probability, probability)


def _error(user, size, generator):
    """Half of the variance is a user's, half a row's."""
    half = size / np.sqrt(2)
    return generator.normal(0, half, user.max() + 1)[user] + generator.normal(0, half, len(user))


def errors_for(gains):
    """The champion's own error for each true gain of a challenger whose own error is OWN."""

    def auc(own):
        world = World.draw(1_000_000, np.random.default_rng(0))
        return metrics.auc(world.label, world.scores(own))

    best = auc(OWN)
    found = {0.0: OWN}
    for gain in gains[1:]:
        found[gain] = brentq(_beyond(best - gain, auc), OWN, 1.0, xtol=1e-3)
    return found


def _beyond(wanted, auc):
    return lambda own: auc(own) - wanted


def trial(arguments):
    """One comparison: (the gate promotes, the number is higher)."""
    seed, rows, own = arguments
    world = World.draw(rows, np.random.default_rng(seed))
    champion, challenger = world.predictions(own), world.predictions(OWN)
    difference = streaming_difference(challenger, champion, GATE)
    single = np.arange(rows) < rows // 2
    masks = {"new_user": single, "returning_user": ~single}
    pair = (challenger, champion)
    found = measure_guardrails(pair, difference, masks, (LISTS, LISTS), GATE)
    ours, theirs = streaming_score(challenger), streaming_score(champion)
    decision = decide_against_champion(difference, ours, theirs, found, GATE)
    return decision.verdict is Verdict.PROMOTE, difference.auc.difference > 0


def series(arguments):
    """Windows one after another, a new challenger each, none better: was one promoted, by looks?

    (each window by itself, pooled as the gate pools, pooled without paying for the looks)
    """
    seed, rows, own = arguments
    generator = np.random.default_rng(seed)
    windows, alone, paid, unpaid = [], False, False, False
    reach = NormalDist().inv_cdf(0.975)
    for look in range(1, WINDOWS + 1):
        world = World.draw(rows, generator)
        champion, challenger = world.predictions(own), world.predictions(OWN)
        windows.append(HoldoutWindow.from_predictions(challenger, champion))
        interval = streaming_difference(challenger, champion, GATE).auc
        alone |= interval.low > 0
        if look > 1:
            settings = {"replicates": GATE.replicates, "confidence": GATE.confidence}
            pooled = pool_windows(windows, look, generator=generator, **settings)
            paid |= pooled.auc.low > 0
            width = NormalDist().inv_cdf((1 + pooled.confidence) / 2)
            error = (pooled.auc.high - pooled.auc.difference) / width
            unpaid |= pooled.auc.difference - reach * error > 0
    return alone, paid, unpaid


def shares(pool_, function, cells, trials):
    """Share of trials by cell, (outcomes,) each."""
    jobs = [
        (1000 * place + seed, *cell) for place, cell in enumerate(cells) for seed in range(trials)
    ]
    found = np.array(list(pool_.map(function, jobs, chunksize=20)), float)
    return dict(zip(cells, found.reshape(len(cells), trials, -1).mean(axis=1), strict=True))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    own = errors_for(GAINS)
    with ProcessPoolExecutor() as workers:
        single = shares(workers, trial, list(product(SIZES, own.values())), options.trials)
        gains = (0.0, 0.005)
        cells = [(SIZES[0], own[gain]) for gain in gains]
        found = shares(workers, series, cells, options.trials)
        looked = {gain: found[cell] for gain, cell in zip(gains, cells, strict=True)}
    write = sys.stdout.write
    write(f"share of promotions in {options.trials} comparisons each\n")
    write(f"{'rows':>8} {'true gain':>10} {'the gate':>9} {'higher number':>14}\n")
    for rows, gain in product(SIZES, GAINS):
        ours, naive = single[rows, own[gain]]
        write(f"{rows:>8,} {gain:>10.3f} {ours:>9.3f} {naive:>14.3f}\n")
    write(
        f"\npromotions within {WINDOWS} windows of {SIZES[0]:,} rows, in {options.trials} series\n"
    )
    write(
        f"{'true gain':>10} {'each alone':>11} {'pooled':>7} {'pooled, looks not paid for':>27}\n"
    )
    for gain, (alone, paid, unpaid) in looked.items():
        write(f"{gain:>10.3f} {alone:>11.3f} {paid:>7.3f} {unpaid:>19.3f}\n")
    if options.plot:
        draw(single, own, options)


def draw(single, own, options):
    """Power over the true gain, a line for each size."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.2), layout="constrained")
    for place, rows in enumerate(SIZES):
        colour = f"C{place}"
        ours, naive = ([single[rows, own[gain]][which] for gain in GAINS] for which in (0, 1))
        axes.plot(GAINS, ours, "o-", color=colour, label=f"gate, {rows:,} rows")
        axes.plot(GAINS, naive, "x:", color=colour, alpha=0.6)
    axes.plot([], [], "x:", color="grey", label="promote if the number is higher")
    axes.axhline(0.05, color="grey", linewidth=0.8)
    axes.set(
        xlabel="true gain of AUC",
        ylabel="share promoted",
        ylim=(0, 1.02),
        title=f"What is promoted, in {options.trials} simulated comparisons each",
    )
    figure.legend(loc="outside right center")
    figure.savefig(options.plot, dpi=150)


if __name__ == "__main__":
    main()
