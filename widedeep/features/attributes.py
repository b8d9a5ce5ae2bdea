"""The item table: the attributes of each item, by id, from which features are made."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import OUT_OF_VOCABULARY, Vocabulary

MISSING = ""
"""The id of an attribute that is absent; a category of its own."""


@dataclass(frozen=True)
class ItemTable:
    """The attributes of m items, by row; row m, behind the last item, stands for an unknown item.

    Attributes:
        ids: Ids of the items, int64 (m,), sorted.
        categories: Strings (m + 1,) by name, `MISSING` where absent.
        numbers: float64 (m + 1,) by name, NaN where absent.
        bags: Rows of distinct ids (int64 or str) by name, m + 1 rows.
    """

    ids: NDArray[np.int64]
    categories: dict[str, NDArray[Any]]
    numbers: dict[str, NDArray[np.float64]]
    bags: dict[str, Ragged]

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Read the table of `items.parquet`, as ingest writes it."""
        years = table["original_year"].cast(pa.float64()).to_numpy()
        return cls(
            table["item"].to_numpy(),
            {"grade": _append(_strings(table["grade"].fill_null(MISSING)), MISSING)},
            {"original_year": _append(years, np.nan)},
            {
                "genres": _bag(table["genres"]),
                "countries": _bag(table["countries"]),
                "people": _bag(table["people"]),
                "leading": _bag(table["leading"]),
            },
        )

    def find_rows(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row of each item id, int64 (n,); m for an unknown item."""
        codes = self._vocabulary.encode(items).astype(np.int64)
        return np.where(codes == OUT_OF_VOCABULARY, len(self.ids), codes - 1)

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """Return a vocabulary of all items: its table finds an id without a binary search."""
        return Vocabulary(self.ids)


def positions_in(sorted_ids: NDArray[np.int64], ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each of `ids` (n,) in `sorted_ids` (m,); m where it is not there."""
    if not len(sorted_ids):
        return np.zeros(len(ids), np.int64)
    positions = np.searchsorted(sorted_ids, ids).clip(max=len(sorted_ids) - 1)
    return np.where(sorted_ids[positions] == ids, positions, len(sorted_ids))


def _append(values: NDArray[Any], unknown: Any) -> NDArray[Any]:  # noqa: ANN401
    return np.concatenate([values, np.array([unknown], values.dtype)])


def _strings(column: pa.ChunkedArray) -> NDArray[Any]:
    return np.array(column.to_pylist(), dtype=object).astype(np.dtypes.StringDType())


def _bag(column: pa.ChunkedArray) -> Ragged:
    rows = [list(dict.fromkeys(row)) for row in column.to_pylist()]
    strings = pa.types.is_string(column.type.value_type)
    return Ragged.from_lists([*rows, []], np.dtypes.StringDType() if strings else np.int64)
