"""Other libraries on the work of training, each in an environment of its own.

Their pins do not live beside ours, so rows go to a script of `peers/` in a file, and an interpreter
that has the library runs it.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.benchmarks.speed.training_work import (
    BATCH,
    CATEGORIES,
    CROSS_SIZE,
    CROSSES,
    EMBEDDING,
    HIDDEN,
    TrainingWork,
)


class Library(NamedTuple):
    """The script of `peers/` that trains it, and the packages whose versions matter."""

    script: str
    packages: tuple[str, ...]


LIBRARIES = {
    "keras": Library("keras_model.py", ("keras",)),
    "pytorch-widedeep": Library("pytorch_widedeep_model.py", ("pytorch-widedeep", "torch")),
    "deepctr": Library("deepctr_model.py", ("deepctr-torch", "torch")),
}
VERSIONS = """
import sys
from importlib.metadata import version
print(", ".join(f"{name} {version(name)}" for name in sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """`python` is an interpreter that has the library `name`."""

    name: str
    python: str

    @classmethod
    def of(cls, text: str) -> "Peer":
        """Read NAME=PYTHON."""
        name, _, python = text.partition("=")
        if name not in LIBRARIES or not Path(python).is_file():
            wanted = " or ".join(f"{known}=/path/to/python" for known in LIBRARIES)
            raise ValueError(f"peer {text!r}; wanted is {wanted}")
        return cls(name, python)

    @property
    def versions(self) -> str:
        """What its interpreter has of it and of what it computes with."""
        return self._said("-c", VERSIONS, *LIBRARIES[self.name].packages)

    def rate(self, rows: Path, threads: int) -> float:
        """Examples a second of an epoch over the file of `save_rows`."""
        script = Path(__file__).parent / "peers" / LIBRARIES[self.name].script
        return float(self._said(str(script), str(rows), str(threads)))

    def _said(self, *arguments: str) -> str:
        """The last line that its interpreter prints."""
        command = [self.python, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.python} failed: {done.stderr[-2000:]}")
        return done.stdout.splitlines()[-1]


def save_rows(work: TrainingWork, rows: int, path: Path) -> None:
    """Write the first `rows` of the work as plain columns, and the shape of the model."""
    encoded = work.examples.rows
    fired = encoded.wide.values.reshape(len(encoded), -1)[:rows]
    starts = np.cumsum([0, *CATEGORIES, *(CROSS_SIZE for _ in CROSSES)])
    np.savez(
        path,
        ids=encoded.categories[:rows],
        crosses=fired[:, len(CATEGORIES) :] - starts[len(CATEGORIES) : -1].astype(np.int32),
        numbers=encoded.numbers.select_rows(slice(rows)).normalised()[
            :, : len(encoded.numbers.counts)
        ],
        label=work.examples.label[:rows],
        sizes=np.array(CATEGORIES),
        cross_sizes=np.array([CROSS_SIZE for _ in CROSSES]),
        embedding=EMBEDDING,
        hidden=np.array(HIDDEN),
        batch=BATCH,
    )
