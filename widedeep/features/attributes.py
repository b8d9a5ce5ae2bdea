"""The attributes of items and of users, by id, from which features are made.

`AttributeTable` holds those of one kind, `FeatureTables` both, with what the context may hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.data.dataset import CATEGORICAL, Feature, FeatureType, Side
from widedeep.data.ids import NO_TEXTS, TextIds
from widedeep.data.tables import MISSING, SideTables
from widedeep.features.ragged import Ragged
from widedeep.features.vocabulary import OUT_OF_VOCABULARY, Vocabulary
from widedeep.inputs import InputError, close_name

Keys = NDArray[np.int64]


@dataclass(frozen=True)
class AttributeTable:
    """The attributes of m items or users, by row; row m, the last, is that of an unknown one.

    Attributes:
        ids: Keys, int64 (m,), sorted.
        categories: Strings (m + 1,) by name, `MISSING` where absent.
        numbers: float64 (m + 1,) by name, NaN where absent.
        bags: Rows of distinct ids (int64 or str) by name, m + 1 rows.
        years: float64 (m + 1,) by name, NaN where absent: a feature is the years since then.
        texts: The ids that are text, to show them.
    """

    ids: Keys
    categories: dict[str, NDArray[Any]] = field(default_factory=dict)
    numbers: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    bags: dict[str, Ragged] = field(default_factory=dict)
    years: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    texts: TextIds = NO_TEXTS

    @classmethod
    def from_table(cls, table: pa.Table, key: str, features: tuple[Feature, ...]) -> Self:
        """Read the features from a table of items or of users, as ingest writes it."""
        with_text = table.filter(pc.is_valid(table["id"]))
        texts = TextIds.from_table(with_text[key].to_numpy(), with_text["id"].to_pylist())
        own = cls(table[key].to_numpy(), texts=texts)
        for feature in features:
            column = table[feature.name]
            if feature.type is FeatureType.BAG:
                own.bags[feature.name] = _bag(column)
            elif feature.type is FeatureType.CATEGORY:
                values = _strings(column.fill_null(MISSING))
                own.categories[feature.name] = _append(values, MISSING)
            else:
                numbers = own.years if feature.type is FeatureType.AGE else own.numbers
                column = column.cast(pa.float64()).fill_null(np.nan)
                numbers[feature.name] = _append(column.to_numpy(), np.nan)
        return own

    def find_rows(self, ids: Keys) -> Keys:
        """Return the row of each key, int64 (n,); m for an unknown one."""
        codes = self._vocabulary.encode(ids).astype(np.int64)
        return np.where(codes == OUT_OF_VOCABULARY, len(self.ids), codes - 1)

    def as_bag(self, name: str) -> Ragged:
        """Return a bag by row, or a category as a bag, which is empty where it is absent.

        Raises:
            InputError: There is no such bag or category.
        """
        if name in self.bags:
            return self.bags[name]
        if name not in self.categories:
            known = [*self.categories, *self.bags]
            raise InputError(
                f"there is no category or bag {name!r}{close_name(name, known)}; expected one of "
                f"{sorted(known)}"
            )
        values = self.categories[name]
        present = values != MISSING
        return Ragged.from_lengths(values[present], present.astype(np.int64))

    @cached_property
    def _vocabulary(self) -> Vocabulary:
        """Return a vocabulary of all ids: its table finds an id without a binary search."""
        return Vocabulary(self.ids)


NO_USERS = AttributeTable(np.empty(0, np.int64))
"""The table of users of a data set that knows no attribute of them."""


@dataclass(frozen=True)
class FeatureTables:
    """What features are made of besides the interactions.

    Attributes:
        items: Attributes of items.
        users: Attributes of users.
        context: The features that a request's context may hold, or that follow from its time.
    """

    items: AttributeTable
    users: AttributeTable = NO_USERS
    context: Mapping[str, Feature] = field(default_factory=dict)

    @classmethod
    def from_side_tables(cls, tables: SideTables) -> Self:
        """Read the tables that ingest writes."""
        spec = tables.spec
        return cls(
            AttributeTable.from_table(tables.items, "item", spec.features_of(Side.ITEM)),
            AttributeTable.from_table(tables.users, "user", spec.features_of(Side.USER)),
            {feature.name: feature for feature in spec.features_of(Side.CONTEXT)},
        )

    @property
    def item_numbers(self) -> list[str]:
        """Names of the numbers of items."""
        return [*self.items.numbers, *self.items.years]

    @property
    def request_numbers(self) -> list[str]:
        """Names of the numbers of users, then those of the context."""
        return [*self.users.numbers, *self.users.years, *self.context_numbers]

    @property
    def numbers(self) -> list[str]:
        """Names of all numbers: of items, of users, of the context."""
        return [*self.item_numbers, *self.request_numbers]

    @property
    def context_categories(self) -> list[str]:
        """Names of the categories that the context holds, or that follow from the time."""
        return [name for name, feature in self.context.items() if feature.type in CATEGORICAL]

    @property
    def context_numbers(self) -> list[str]:
        """Names of the numbers that the context holds."""
        return [name for name, f in self.context.items() if f.type is FeatureType.NUMBER]

    def side_of(self, name: str) -> Side | None:
        """Return of what a feature is an attribute; None for one that history or ids provide."""
        for side, table in ((Side.ITEM, self.items), (Side.USER, self.users)):
            if any(name in part for part in (table.categories, table.numbers, table.bags)):
                return side
            if name in table.years:
                return side
        return Side.CONTEXT if name in self.context else None


def positions_in(sorted_ids: Keys, ids: Keys) -> Keys:
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
