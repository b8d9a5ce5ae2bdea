"""Rankers side by side: the same rows, the same point-in-time features, the same metrics.

    python -m tests.benchmarks.bench_rankers [--split all] [--seeds 3] [--rankers NAME …]
                                             [--preset paper] [--precision bfloat16]
                                             [--pytorch-widedeep PYTHON]

from the project's folder. Every ranker learns from the training part, is chosen on validation, and
answers the holdout under both protocols; those that can be are refitted on training + validation
before that (--no-refit: not). With JSON=1 in the environment the last line is a JSON object.
Run it alone: two heavy jobs slow each other fourfold.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from tests.benchmarks.rankers.boosting import Boosting
from tests.benchmarks.rankers.lecture_model import LectureModel
from tests.benchmarks.rankers.logistic import Logistic
from tests.benchmarks.rankers.means import Constant, UserItemMean
from tests.benchmarks.rankers.problem import Problem
from tests.benchmarks.rankers.report import (
    Summary,
    as_json,
    difference_table,
    differences,
    quality_table,
)
from tests.benchmarks.rankers.run import Ranker, Run
from tests.benchmarks.rankers.wide_deep import WideAndDeep
from tests.worlds import KMRD, ingest
from widedeep.data.split import Split
from widedeep.data.tables import IngestedData
from widedeep.inputs import Precision
from widedeep.model.presets import PRESETS, get_preset
from widedeep.store import ArtifactStore

KMRD_SMALL = Path(__file__).resolve().parents[3] / "shared" / "data" / "kmrd-small"
# Validation from, holdout from, end (None: all that is known). `tenths` fits any data.
SPLITS = {
    "reference": (1441884720, 1507421280, None),
    "2011": (1262304000, 1293840000, 1325376000),
    "2014": (1356998400, 1388534400, 1420070400),
    "tenths": (None, None, None),
}
ALL = ("reference", "2011", "2014")
OURS, BOOSTING, LECTURE = "wide-deep", "lightgbm", "pytorch-widedeep"
RANKERS = (OURS, BOOSTING, "logistic", "user-movie-mean", "constant", LECTURE)
WIDTH = 140


def prepare(name: str, problem: Problem, options: argparse.Namespace) -> Ranker:
    """What all seeds of a ranker share."""
    makers = {
        OURS: lambda: WideAndDeep.of(
            problem,
            get_preset(options.preset, KMRD).with_precision(options.precision),
            refit=options.refit,
        ),
        BOOSTING: lambda: Boosting.of(problem, refit=options.refit),
        "logistic": lambda: Logistic.of(problem, refit=options.refit),
        "user-movie-mean": lambda: UserItemMean(problem),
        "constant": lambda: Constant(problem),
        LECTURE: lambda: LectureModel.of(problem, options.pytorch_widedeep, refit=options.refit),
    }
    return makers[name]()


def train(name: str, problem: Problem, options: argparse.Namespace) -> list[Run]:
    """A run a seed; one where seeds make no difference."""
    ranker = prepare(name, problem, options)
    runs = []
    for seed in range(options.seeds if ranker.seeded else 1):
        runs.append(ranker.train(seed))
        sys.stderr.write(f"{name} seed {seed}: {runs[-1].seconds:.0f} s, {runs[-1].note}\n")
    return runs


def compare(
    ratings: IngestedData, split: str, options: argparse.Namespace, console: Console
) -> dict:
    """One split: train all, print, and return JSON values."""
    validation_from, holdout_from, end = SPLITS[split]
    end = end or ratings.last_time + 1
    moments = Split.from_times(ratings.interactions(end).time, end, validation_from, holdout_from)
    problem = Problem.of(ratings, moments, get_preset("default", KMRD))
    runs = {name: train(name, problem, options) for name in options.rankers}
    summaries = {name: Summary.of(found) for name, found in runs.items()}
    rows = [len(problem.questions(part)["frozen"].user) for part in (moments, problem.validation)]
    title = f"{split}: {rows[0]:,} holdout, {rows[1]:,} validation rows\n{moments.to_text()}"
    console.print(quality_table(title, summaries))
    found = None
    if {OURS, BOOSTING} <= set(runs):
        found = differences(*([run.holdout for run in runs[name]] for name in (OURS, BOOSTING)))
        console.print(difference_table(f"{split}: {OURS} minus {BOOSTING}, holdout", found))
    return as_json(summaries, found)


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="bench_rankers", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=KMRD_SMALL, help="a folder in KMRD's form")
    parser.add_argument("--split", choices=(*SPLITS, "all"), default="reference")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rankers", nargs="+", choices=RANKERS, default=None)
    parser.add_argument("--preset", choices=PRESETS, default="default", help=f"of {OURS}")
    parser.add_argument(
        "--precision", type=Precision, choices=[*Precision], default=Precision.AUTO, help="likewise"
    )
    parser.add_argument("--refit", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(f"--{LECTURE}", metavar="PYTHON", help="an interpreter that has it")
    options = parser.parse_args(arguments)
    named = options.pytorch_widedeep is not None
    options.rankers = options.rankers or [n for n in RANKERS if named or n != LECTURE]
    if LECTURE in options.rankers and not named:
        parser.error(f"--{LECTURE} PYTHON is wanted for that ranker")
    return options


def results(options: argparse.Namespace, console: Console) -> Iterator[tuple[str, dict]]:
    """Each split's name and JSON values."""
    with tempfile.TemporaryDirectory() as workspace:
        ratings = IngestedData(
            ingest(options.data, ArtifactStore(Path(workspace)), int(time.time()))
        )
        for split in ALL if options.split == "all" else (options.split,):
            yield split, compare(ratings, split, options, console)


def main() -> None:
    """Run all and print."""
    options = options_of(sys.argv[1:])
    console = Console(width=max(WIDTH, Console().width))
    splits = dict(results(options, console))
    if os.environ.get("JSON") == "1":
        settings = {"data": options.data.name, "preset": options.preset, "seeds": options.seeds}
        settings["precision"] = options.precision
        sys.stdout.write(json.dumps(settings | {"refit": options.refit, "splits": splits}) + "\n")


if __name__ == "__main__":
    main()
