"""Whole retrains through the command line: quality by seed, seconds by stage, cold and warm.

    python tests/benchmarks/bench_retrain.py [KMRD-small folder] [seeds]

Each seed gets a home of its own: a cold run, then a warm one from its champion, on the reference
split. `other` is the wall time outside ingest, features, train and evaluate: imports, Prefect's
temporary server, MLflow, promotion. Run it alone: two heavy jobs slow each other fourfold.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean, median, stdev

from rich.console import Console
from rich.table import Table

SPLIT = ("--validation-from", "1441884720", "--holdout-from", "1507421280")
STAGES = ("ingest", "features", "train", "evaluate")
METRICS = (
    ("streaming", "auc"),
    ("streaming", "log_loss"),
    ("streaming", "ece"),
    ("frozen", "auc"),
    ("frozen", "log_loss"),
    ("frozen", "ece"),
    ("frozen", "gauc"),
)


def retrain(data, workspace, seed):
    """One run as a user starts it; returns its JSON object with the wall time."""
    command = [sys.executable, "-m", "flows.cli", "retrain", "--json", "--data", data]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, *SPLIT, "--home", workspace, "--seed", str(seed)],
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout.splitlines()[-1])
    wall = time.perf_counter() - started
    stages = {stage: result["seconds"][stage] for stage in STAGES}
    return result | {"times": {**stages, "other": wall - sum(stages.values()), "wall": wall}}


def show(name, runs, console):
    """Means and spreads of quality, medians of seconds."""
    table = Table("metric", "mean", "sd", title=f"{name}, {len(runs)} seeds")
    for protocol, metric in METRICS:
        values = [run["challenger"][protocol][metric] for run in runs]
        spread = stdev(values) if len(values) > 1 else 0
        table.add_row(f"{protocol} {metric}", f"{mean(values):.4f}", f"{spread:.4f}")
    for stage in (*STAGES, "other", "wall"):
        seconds = [run["times"][stage] for run in runs]
        spread = f"{min(seconds):.1f} … {max(seconds):.1f}"
        table.add_row(f"{stage} s (median)", f"{median(seconds):.1f}", spread)
    console.print(table)


def main():
    """Run all and print."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data" / "kmrd-small"
    data = sys.argv[1] if len(sys.argv) > 1 else str(default)
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as homes:
        for seed in range(seeds):
            workspace = str(Path(homes) / str(seed))
            cold.append(retrain(data, workspace, seed))
            warm.append(retrain(data, workspace, seed))
    console = Console()
    show("cold", cold, console)
    show("warm, on the same ratings", warm, console)


if __name__ == "__main__":
    main()
