"""Quantiles of several numbers, for the compiled lookup."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from widedeep.errors import InputError
from widedeep.features.raw_columns import NUMBERS
from widedeep.serving.compiled import Quantiles


def quantiles_of(numbers: Sequence[str], boundaries: Sequence[NDArray[np.float64]]) -> Quantiles:
    """The numbers by name, each with its boundaries; columns are places in `NUMBERS`."""
    for number in numbers:
        if number not in NUMBERS:
            raise InputError(f"no numeric feature {number!r}; there are {list(NUMBERS)}")
    return Quantiles(
        np.array([NUMBERS.index(number) for number in numbers], np.int64),
        np.cumsum([0, *map(len, boundaries)], dtype=np.int64),
        np.concatenate([*boundaries, np.empty(0)]),
    )
