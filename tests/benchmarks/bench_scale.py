"""Features as rows grow: what a row costs, and the most memory that a process takes for them.

    python -m tests.benchmarks.bench_scale [--rows 500000 5000000 50000000] [--engines memory disk]
    python -m tests.benchmarks.bench_scale --engines ray

from tests.worlds import KMRD
from the project's folder. Ratings of KMRD's shape and everything of the default preset, as in `make
bench`; each size is described, fitted and encoded in a process of its own, which makes the ratings,
too. On disk and on Ray (a local one with two workers, whose memory is not counted) the encoded rows
are let go block by block. What compiles is not counted, nor is Ray's start. Fifty million rows take
some minutes (on Ray most of an hour) and 15 GB of disk (40). Run it alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.table import Table

from flows.environment import configure, default_workspace

if TYPE_CHECKING:
    from widedeep.features.engine import EngineFactory

Found = TypeVar("Found")

STAGES = ("describe", "fit", "encode")
MOST_IN_MEMORY = 10_000_000
"""Of more, described rows are not tried in memory here."""


@contextmanager
def running(engine: str, folder: Path) -> "Iterator[EngineFactory]":
    """Engines of that name, for a while."""
    from tasks.engine import Engine
    from widedeep.features.engine import InMemoryEngine
    from widedeep.inputs import EngineName
    from widedeep.out_of_core.on_disk import OnDiskEngine
    from widedeep.workspace import Workspace

    if engine == "ray":
        ray = Engine(engine=EngineName.RAY, workers=2)
        with ray.running(Workspace(folder)):
            yield ray.feature_engines(folder)
    else:
        yield InMemoryEngine if engine == "memory" else partial(OnDiskEngine, folder=folder)


def run(engine: str, rows: int, folder: Path) -> dict[str, float]:
    """Seconds by stage, and the most GiB that this process has taken."""
    from tests.benchmarks.speed.features_speed import item_table_of, log_of
    from tests.worlds import KMRD
    from widedeep.features.history import Queries
    from widedeep.model.presets import get_preset

    interactions, spec = log_of(rows), get_preset("default", KMRD).features
    seconds = {}

    def time(stage: str, work: Callable[[], Found]) -> Found:
        started = perf_counter()
        found = work()
        seconds[stage] = perf_counter() - started
        return found

    asked = Queries(interactions.user, interactions.item, interactions.time, interactions.time)
    with running(engine, folder) as engines:
        made = engines(interactions, item_table_of(rows), spec, 0.67)
        described = time("describe", lambda: made.compute_features(asked))
        transform = time("fit", lambda: made.fit(described, (), None))

        def encode() -> None:
            if engine == "memory":
                made.encode(transform, [described])
            else:
                deque(
                    described.map_blocks(
                        lambda block, _: transform.encode(block), spec.history_columns
                    ),
                    maxlen=0,
                )

        time("encode", encode)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {**seconds, "GiB": peak}


def apart(engine: str, rows: int, folder: Path) -> dict[str, float]:
    """`run` in a process of its own."""
    command = [sys.executable, "-m", __spec__.name, "--only", engine, str(rows), str(folder)]
    found = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> None:
    """Run all and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 5_000_000, 50_000_000])
    parser.add_argument("--engines", nargs="+", default=["memory", "disk"])
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    configure(default_workspace())
    if given.only:
        engine, rows, folder = given.only
        sys.stdout.write(json.dumps(run(engine, int(rows), Path(folder))) + "\n")
        return
    table = Table("rows", "engine", *STAGES, "rows/s", "peak GiB")
    with tempfile.TemporaryDirectory() as folder:
        for engine in given.engines:
            apart(engine, 20_000, Path(folder))
        for rows in given.rows:
            for engine in given.engines:
                if engine == "memory" and rows > MOST_IN_MEMORY:
                    continue
                found = [apart(engine, rows, Path(folder)) for _ in range(given.runs)]
                seconds = [median(one[stage] for one in found) for stage in STAGES]
                rate, peak = rows / sum(seconds), max(one["GiB"] for one in found)
                shown = (f"{each:.1f}" for each in seconds)
                table.add_row(f"{rows:,}", engine, *shown, f"{rate:,.0f}", f"{peak:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
