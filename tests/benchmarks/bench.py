"""Ours, the limit, and others on the same work: one table.

    make bench
    python -m tests.benchmarks.bench [--part training] [--runs 5] [--threads 2]
        [--peer keras=PYTHON] [--peer pytorch-widedeep=PYTHON] [--peer deepctr=PYTHON]

from the project's folder. Medians of alternating runs. With JSON=1 in the environment the last line
is one JSON object. Run it alone: two heavy jobs slow each other fourfold. On a machine with CUDA
the training part is run there. Notes, dated: tests/benchmarks/speed/NOTES.md.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from flows.environment import configure, default_workspace
from tests.benchmarks.speed.peer import Peer

LIBRARIES = ("torch", "numpy", "numba", "pandas", "scikit-learn", "pyarrow")


def parts(options: argparse.Namespace) -> dict[str, Callable[[], dict]]:
    """What can be measured; imported here, when the environment is settled."""
    import torch

    from tests.benchmarks.speed import evaluation_speed, features_speed, training_speed

    torch.set_num_threads(options.threads)
    return {
        "training": lambda: training_speed.measure(
            options.training_rows, options.runs, options.threads, options.peer
        ),
        "features": lambda: features_speed.measure(options.feature_rows, options.runs),
        "evaluation": lambda: evaluation_speed.measure(options.runs),
    }


def show(found: dict[str, dict], options: argparse.Namespace, versions: list[str]) -> None:
    """One table."""
    title = f"{options.threads} threads, medians of {options.runs} runs; {'; '.join(versions)}"
    table = Table("part", "", "what", "number", title=title)
    for part, kinds in found.items():
        for kind, rates in kinds.items():
            for name, rate in rates.items():
                digits = ".2f" if rate < 100 else ",.0f"
                table.add_row(part, kind, str(name), f"{rate:{digits}}")
    Console(width=120).print(table)


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("training", "features", "evaluation"), action="append")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--training-rows", type=int, default=1_000_000)
    parser.add_argument("--feature-rows", type=int, default=5_000_000)
    parser.add_argument("--peer", type=Peer.of, action="append", default=[])
    options = parser.parse_args()
    configure(default_workspace())
    available = parts(options)
    found = {name: available[name]() for name in options.part or available}
    ours = {name: version(name) for name in LIBRARIES}
    theirs = {peer.name: peer.versions for peer in options.peer}
    libraries = ", ".join(f"{name} {number}" for name, number in ours.items())
    show(found, options, [libraries, *(f"peer {name}: {held}" for name, held in theirs.items())])
    if os.environ.get("JSON") == "1":
        machine = {"threads": options.threads, "runs": options.runs, "cpu": platform.processor()}
        sys.stdout.write(json.dumps({**found, "machine": {**machine, **ours, **theirs}}) + "\n")


if __name__ == "__main__":
    main()
