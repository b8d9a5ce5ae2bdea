"""What is encoded ahead of any request: items, and the codes of users and liked items."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.tables import Interactions
from widedeep.features import FeatureSpec, ItemTable, Queries, Ragged, Transform
from widedeep.features.raw_features import NUMBERS, item_age
from widedeep.inputs import InputError
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.live_state import FeatureRow
from widedeep.serving.scorer.kernels import Ints, QuantileTables

USER_FEATURES = ("user", "liked", "disliked")
"""The categories and bags that depend on the user; all others depend on the item."""

_NO_INTERACTIONS = Interactions(
    np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int8), np.empty(0, np.int64)
)


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """What a model reads of each item whatever the user and the time.

    The rows are the items in ascending order of id and, last, an unknown item.

    Attributes:
        codes: Codes of each category and bag that depends on the item, by name.
        wide_ids: All wide ids that fire for an unknown user without history. Those that also depend
            on the user or on time differ from a request's.
        original_year: float64 (items + 1,), NaN where unknown.
    """

    codes: Mapping[str, Ragged]
    wide_ids: Ragged
    original_year: NDArray[np.float64]

    @classmethod
    def from_transform(cls, transform: Transform, item_table: ItemTable, items: Ints) -> Self:
        """Encode the item ids `items`, ascending, with the model's own transform."""
        ids = np.append(items, _unused_id(items))
        moment = np.zeros(len(ids), np.int64)
        unknown_user = np.full(len(ids), -1)
        queries = Queries(unknown_user, ids, moment, moment)
        rows = transform.compute_features(_NO_INTERACTIONS, queries, item_table)
        encoded = transform.encode(rows)
        categories, bags = transform.spec.categories, transform.spec.bags
        codes = {
            category.name: Ragged.one_per_row(encoded.categories[:, i])
            for i, category in enumerate(categories)
        }
        codes |= {bag.name: ragged for bag, ragged in zip(bags, encoded.bags, strict=True)}
        item_codes = {name: ragged for name, ragged in codes.items() if name not in USER_FEATURES}
        year = item_table.numbers["original_year"][rows.item_rows]
        return cls(item_codes, encoded.wide, year)

    def item_age(self, rows: Ints, time: int) -> NDArray[np.float64]:
        """Return the age in years of the items `rows` at UNIX seconds `time`, shape (n,)."""
        return item_age(self.original_year[rows], time)


def _unused_id(items: Ints) -> int:
    """Return the largest negative id that is not among `items`."""
    return int(np.setdiff1d(np.arange(-1, -len(items) - 2, -1), items)[-1])


@dataclass(frozen=True, slots=True)
class UserFeatures:
    """How a model codes the user and the remembered items of a request.

    Attributes:
        names: Those of `USER_FEATURES` that the model reads.
        codes: For each name, the vocabulary's code of each code of the live state, int64. The last
            entry is that of an unknown id, 0 for out-of-vocabulary; it also stands for ids that
            the state meets later, which are in no vocabulary.
    """

    names: tuple[str, ...]
    codes: tuple[Ints, ...]

    @classmethod
    def from_transform(cls, transform: Transform, users: Ints, items: Ints) -> Self:
        """Look up the ids that a live state has codes for at the start."""
        names = [name for name in feature_names(transform.spec) if name in USER_FEATURES]
        codes = [
            transform.vocabulary_of(name).encode(users if name == "user" else items)
            for name in names
        ]
        return cls(tuple(names), tuple(np.append(row, 0).astype(np.int64) for row in codes))

    def read(self, request: FeatureRow) -> dict[str, Ints]:
        """Return the request's codes by name: (1,) for the user, (remembered,) for a bag."""
        state_codes = {
            "user": np.array([request.user]),
            "liked": request.liked,
            "disliked": request.disliked,
        }
        return {
            name: codes[np.minimum(state_codes[name], len(codes) - 1)]
            for name, codes in zip(self.names, self.codes, strict=True)
        }


def known_ids(model: TrainedModel) -> tuple[Ints, Ints]:
    """Return the user and item ids in a model's vocabularies, shape (n,) each, items with repeats.

    The ratings that a live state starts from need not contain them all.
    """
    transform = model.transform
    names = [name for name in feature_names(transform.spec) if name in {"item", *USER_FEATURES}]
    ids = {name: transform.vocabulary_of(name).ids for name in names}
    none = np.empty(0, np.int64)
    users = ids.pop("user", none)
    return users, np.concatenate([none, *ids.values()])


def feature_names(spec: FeatureSpec) -> list[str]:
    """Return the names of all categories, then those of all bags."""
    return [category.name for category in spec.categories] + [bag.name for bag in spec.bags]


def quantile_tables(
    numbers: Sequence[str], boundaries: Sequence[NDArray[np.float64]]
) -> QuantileTables:
    """Return the boundaries (quantiles,) of each named number; columns are those of `NUMBERS`.

    Raises:
        InputError: There is no number of that name.
    """
    for number in numbers:
        if number not in NUMBERS:
            raise InputError(f"unknown number {number!r}; expected one of {list(NUMBERS)}")
    return QuantileTables(
        np.array([NUMBERS.index(number) for number in numbers], np.int64),
        np.cumsum([0, *map(len, boundaries)], dtype=np.int64),
        np.concatenate([*boundaries, np.empty(0)]),
    )
