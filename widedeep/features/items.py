"""What is known of items, by their token: the raw attributes that features are made of."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import OUT_OF_VOCABULARY, Vocabulary

MISSING = ""
"""The token of an attribute that is absent; a category of its own."""


@dataclass(frozen=True)
class ItemTable:
    """Items (int64, sorted, shape (m,)) with their attributes.

    `categories`: str of shape (m,), `MISSING` where absent. `numbers`: float64 (m,), NaN where
    absent. `bags`: rows of distinct tokens. Row m, behind the last item, stands for an unknown
    item: nothing is known of it.
    """

    items: NDArray[np.int64]
    categories: dict[str, NDArray[Any]]
    numbers: dict[str, NDArray[np.float64]]
    bags: dict[str, Ragged]

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Read `items.parquet` as ingest writes it."""
        years = table["original_year"].cast(pa.float64()).to_numpy()
        return cls(
            table["item"].to_numpy(),
            {"grade": _append(_strings(table["grade"].fill_null(MISSING)), MISSING)},
            {"original_year": _append(years, np.nan)},
            {
                "genres": _lists(table["genres"]),
                "countries": _lists(table["countries"]),
                "people": _lists(table["people"]),
                "leading": _lists(table["leading"]),
            },
        )

    def rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of each item token, shape (n,); m for an unknown one."""
        ids = self._vocabulary.encode(items).astype(np.int64)
        return np.where(ids == OUT_OF_VOCABULARY, len(self.items), ids - 1)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """Of all items: its table finds a token at once, in a sorted array it takes a search."""
        return Vocabulary(self.items)

    def bag(self, name: str, rows: NDArray[np.int64]) -> Ragged:
        """Tokens of a bag attribute for the given rows."""
        return self.bags[name].select_rows(rows)


def positions_of(held: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each of `tokens` (n,) stands among those `held` (m, sorted); m for a strange one."""
    if not len(held):
        return np.zeros(len(tokens), np.int64)
    place = np.searchsorted(held, tokens).clip(max=len(held) - 1)
    return np.where(held[place] == tokens, place, len(held))


def _append(values: NDArray[Any], unknown: Any) -> NDArray[Any]:  # noqa: ANN401
    return np.concatenate([values, np.array([unknown], values.dtype)])


def _strings(column: pa.ChunkedArray) -> NDArray[Any]:
    return np.array(column.to_pylist(), dtype=object).astype(np.dtypes.StringDType())


def _lists(column: pa.ChunkedArray) -> Ragged:
    rows = [list(dict.fromkeys(row)) for row in column.to_pylist()]
    strings = pa.types.is_string(column.type.value_type)
    return Ragged.from_lists([*rows, []], np.dtypes.StringDType() if strings else np.int64)
