"""The work of training that anchors were measured on: rows that cost what a paper's rows cost.

Eight categorical columns of 100,000 to 5 ids (frequent ids first, as in nature), six numbers, four
crosses of pairs of columns; what is learned does not matter, so labels are drawn from one column.
"""

from dataclasses import dataclass

import numpy as np

from widedeep.features.encoded import EncodedRows, Examples
from widedeep.features.quantiles import QuantisedNumbers
from widedeep.features.ragged import Ragged
from widedeep.model.network import InputShape

CATEGORIES = (100_000, 50_000, 10_000, 1_000, 500, 100, 20, 5)
NUMBERS = 6
QUANTILES = 100
CROSSES = ((1, 2), (3, 4), (4, 5), (6, 7))
CROSS_SIZE = 200_000
EMBEDDING = 32
HIDDEN = (1024, 512, 256)
BATCH = 1024
INPUTS = len(CATEGORIES) * EMBEDDING + 2 * NUMBERS
"""Width of the first layer: embeddings, and each number with the mark of a missing one."""


@dataclass(frozen=True, slots=True)
class TrainingWork:
    """Encoded rows, and the shape of the network that reads them."""

    examples: Examples
    shape: InputShape

    @classmethod
    def of(cls, rows: int, seed: int = 0) -> "TrainingWork":
        """Draw `rows` rows."""
        generator = np.random.default_rng(seed)
        ids = np.stack([_ids(generator, rows, size) for size in CATEGORIES], axis=1)
        numbers = QuantisedNumbers.empty(rows, [QUANTILES] * NUMBERS)
        numbers.quantile[:] = generator.integers(1, QUANTILES + 1, (rows, NUMBERS))
        wide = np.concatenate([ids + _starts()[: len(CATEGORIES)], _crosses(ids)], axis=1)
        label = generator.random(rows) < 0.3 + 0.4 * (ids[:, 3] % 2)
        fired = Ragged.from_lengths(wide.ravel().astype(np.int32), np.full(rows, wide.shape[1]))
        encoded = EncodedRows(ids, (), numbers, fired, np.zeros(rows, np.float32))
        return cls(Examples.unweighted(encoded, label), _shape())


def _ids(generator: np.random.Generator, rows: int, size: int) -> np.ndarray:
    return (size * generator.random(rows) ** 3).astype(np.int32)


def _starts() -> np.ndarray:
    sizes = (*CATEGORIES, *(CROSS_SIZE for _ in CROSSES))
    return np.concatenate([[0], np.cumsum(sizes)])


def _crosses(ids: np.ndarray) -> np.ndarray:
    pairs = [
        (ids[:, a].astype(np.int64) * CATEGORIES[b] + ids[:, b]) % CROSS_SIZE for a, b in CROSSES
    ]
    return np.stack(pairs, axis=1) + _starts()[len(CATEGORIES) : -1]


def _shape() -> InputShape:
    tables = {f"c{i}": size for i, size in enumerate(CATEGORIES)}
    return InputShape(tables, tuple(tables), (), 2 * NUMBERS, int(_starts()[-1]))
