"""pytorch-widedeep's model of the lecture, mended, in an environment of its own.

Its pins do not live beside ours, so rows go to `lecture_model_runner.py` through Parquet files and
probabilities come back through them. The library takes no weights: stale copies count as much as
fresh rows.

Its `seconds` are those of training, as for every ranker. The library's own preprocessing is not in
them and takes longer: 313 s beside 51 s of training in one run on KMRD-small's reference split.
"""

import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.rankers.problem import GENRES, Floats, Lesson, Problem
from tests.benchmarks.rankers.run import Run
from widedeep.data.split import Split
from widedeep.features.encoded import EncodedRows
from widedeep.features.training_data import PROTOCOLS
from widedeep.features.transform import Transform

RUNNER = Path(__file__).with_name("lecture_model_runner.py")


@dataclass(frozen=True, slots=True)
class Outcome:
    """Probabilities of the questions, epochs trained (of the best state), seconds of training."""

    answers: Floats
    epochs: int
    seconds: float


@dataclass(frozen=True, slots=True)
class LectureModel:
    """`python` is an interpreter that imports pytorch_widedeep."""

    seeded: ClassVar[bool] = True
    problem: Problem
    python: str
    refit_lesson: Lesson | None

    @classmethod
    def of(cls, problem: Problem, python: str, *, refit: bool) -> Self:
        return cls(problem, python, problem.refit_lesson() if refit else None)

    def train(self, seed: int) -> Run:
        problem, rows = self.problem, self.problem.training_set
        held = EncodedRows.concatenate([rows.validation[name].rows for name in PROTOCOLS])
        label = np.concatenate([rows.validation[name].label for name in PROTOCOLS])
        tables = {
            "training": _table(rows.training.rows, rows.transform, rows.training.label),
            "validation": _table(held, rows.transform, label),
            "questions": self._questions(
                problem.validation, problem.split, transform=rows.transform
            ),
        }
        chosen = self._exchange(tables, seed)
        early, late = np.split(chosen.answers, [len(label)])
        seconds = chosen.seconds
        if self.refit_lesson:
            final = self._refit(chosen.epochs, seed)
            late, seconds = final.answers, seconds + final.seconds
        parts = (
            problem.answered(dict(zip(PROTOCOLS, np.split(answers, 2), strict=True)), part)
            for answers, part in ((early, problem.validation), (late, problem.split))
        )
        refitted = self.refit_lesson is not None
        return Run(*parts, seconds, f"{chosen.epochs} epochs", refitted)

    def _refit(self, epochs: int, seed: int) -> Outcome:
        lesson, spec = self.refit_lesson, self.problem.preset.features
        transform = Transform.fit(spec, lesson.prior, lesson.parts[0])
        tables = {
            "training": _table(lesson.encode(transform), transform, lesson.label),
            "questions": self._questions(self.problem.split, transform=transform),
        }
        return self._exchange(tables, seed, epochs)

    def _questions(self, *parts: Split, transform: Transform) -> pa.Table:
        """Of each part both protocols' rows, one after another."""
        asked = [self.problem.questions(part)[name] for part in parts for name in PROTOCOLS]
        described = [self.problem.describe(rows, transform.prior) for rows in asked]
        encoded = EncodedRows.concatenate([transform.encode(rows) for rows in described])
        return _table(encoded, transform)

    def _exchange(self, tables: dict[str, pa.Table], seed: int, epochs: int = 0) -> Outcome:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for table, rows in tables.items():
                pq.write_table(rows, folder / f"{table}.parquet")
            command = [self.python, str(RUNNER), name, str(seed), str(epochs)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{self.python} failed: {done.stderr[-2000:]}")
            told = json.loads((folder / "told.json").read_text(encoding="utf-8"))
            answers = pq.read_table(folder / "answers.parquet")["probability"].to_numpy()
        return Outcome(answers.astype(np.float64), told["epochs"], told["seconds"])


def _table(rows: EncodedRows, transform: Transform, label=None) -> pa.Table:
    """Columns `id_…`, `genre_…` (0 or 1) and `number_…` (no NaN among them)."""
    spec = transform.spec
    place = [bag.name for bag in spec.bags].index(GENRES)
    genres, size = rows.bags[place], len(transform.vocabulary_of(GENRES))
    many_hot = np.zeros((len(rows), size), np.int8)
    many_hot[genres.row_numbers(), genres.values] = 1
    ids = {f"id_{c.name}": rows.categories[:, i] for i, c in enumerate(spec.categories)}
    kinds = {f"genre_{i}": many_hot[:, i] for i in range(size)}
    numbers = {f"number_{i}": column for i, column in enumerate(rows.numbers.normalised().T)}
    labels = {} if label is None else {"label": label}
    return pa.table({**ids, **kinds, **numbers, **labels})
