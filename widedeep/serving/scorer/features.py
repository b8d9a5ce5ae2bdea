"""What is encoded ahead of any request, and how a request's own features are encoded.

`ItemFeatures` are what a model reads of each item, `RequestCodes` how it codes the user, the
remembered items and the context of a request, and `RequestNumbers` fill in the numbers that are
attributes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from widedeep.data.dataset import Feature, FeatureType, Side
from widedeep.data.ids import UNKNOWN_KEY
from widedeep.data.tables import Interactions
from widedeep.features import (
    NUMERIC,
    AttributeTable,
    FeatureSpec,
    FeatureTables,
    Queries,
    Ragged,
    Transform,
    Vocabulary,
)
from widedeep.features.history import ITEM_NUMERIC, USER_NUMERIC
from widedeep.features.raw_features import calendar_category, years_since
from widedeep.features.request import FeatureValue, as_category, as_number
from widedeep.inputs import InputError
from widedeep.model.trained_model import TrainedModel
from widedeep.serving.live_state import FeatureRow
from widedeep.serving.scorer.kernels import Ints, QuantileTables

REMEMBERED = ("user", "liked", "disliked")
"""The user's id and the remembered items: features of a request that the live state codes."""


REQUEST_HISTORY = (*USER_NUMERIC, "staleness", "global_first_mean", "global_later_mean")
"""Numbers of history that are the same for all candidates of a request."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What decides each feature of a model: the item, the request, or both.

    Attributes:
        numbers: The columns of values: the numbers of history, then those of items, of users and
            of the context.
        request_features: The categories and bags that a request decides; others are the item's.
        request_numbers: The numbers that are the same for all candidates of a request.
        item_numbers: The numbers that are the same for all requests of one moment.
    """

    numbers: tuple[str, ...]
    request_features: tuple[str, ...]
    request_numbers: tuple[str, ...]
    item_numbers: tuple[str, ...]

    @classmethod
    def from_spec(cls, spec: FeatureSpec, tables: FeatureTables) -> Self:
        """Find out of what each feature is an attribute."""
        of_request = [
            name
            for name in feature_names(spec)
            if name in REMEMBERED or tables.side_of(name) in {Side.USER, Side.CONTEXT}
        ]
        return cls(
            (*NUMERIC, *spec.history.attribute_numbers, *tables.numbers),
            tuple(of_request),
            (*REQUEST_HISTORY, *tables.request_numbers),
            (*ITEM_NUMERIC, *tables.item_numbers),
        )


def feature_names(spec: FeatureSpec) -> list[str]:
    """Return the names of all categories, then those of all bags."""
    return [category.name for category in spec.categories] + [bag.name for bag in spec.bags]


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """What a model reads of each item whatever the request.

    The rows are the items in ascending order of key and, last, an unknown item.

    Attributes:
        codes: Codes of each category and bag that depends on the item, by name.
        wide_ids: All wide ids that fire for an unknown user without history. Those that also depend
            on the request differ from a request's.
        rows: Number of rows, items + 1.
    """

    codes: Mapping[str, Ragged]
    wide_ids: Ragged
    rows: int

    @classmethod
    def from_transform(cls, transform: Transform, tables: FeatureTables, items: Ints) -> Self:
        """Encode the item keys `items`, ascending, with the model's own transform."""
        ids = np.append(items, _unused_id(items))
        moment = np.zeros(len(ids), np.int64)
        unknown_user = np.full(len(ids), UNKNOWN_KEY)
        queries = Queries(unknown_user, ids, moment, moment)
        rows = transform.compute_features(Interactions.empty(), queries, tables)
        encoded = transform.encode(rows)
        categories, bags = transform.spec.categories, transform.spec.bags
        codes = {
            category.name: Ragged.one_per_row(encoded.categories[:, i])
            for i, category in enumerate(categories)
        }
        codes |= {bag.name: ragged for bag, ragged in zip(bags, encoded.bags, strict=True)}
        of_request = Layout.from_spec(transform.spec, tables).request_features
        item_codes = {name: ragged for name, ragged in codes.items() if name not in of_request}
        return cls(item_codes, encoded.wide, len(ids))


def _unused_id(items: Ints) -> int:
    """Return the largest negative id that is not among `items`."""
    return int(np.setdiff1d(np.arange(-1, -len(items) - 2, -1), items)[-1])


@dataclass(frozen=True, slots=True)
class RequestCodes:
    """How a model codes the user, the remembered items and the context of a request.

    Attributes:
        names: The categories and bags that a request decides.
        of_state: For the user's id, attributes and remembered items: codes by code of the live
            state. The last row is that of an unknown id; it also stands for ids that the state
            meets later, which are in no vocabulary and no table.
        given: For attributes of the user and the context: the code of each value, by name.
        calendar: For what follows from the time: the feature, and the code of each of its values.
    """

    names: tuple[str, ...]
    of_state: Mapping[str, Ragged]
    given: Mapping[str, Mapping[str, int]]
    calendar: Mapping[str, "CalendarCodes"]

    @classmethod
    def from_transform(
        cls, transform: Transform, tables: FeatureTables, users: Ints, items: Ints
    ) -> Self:
        """Look up the keys that a live state has codes for at the start."""
        names = Layout.from_spec(transform.spec, tables).request_features
        user_rows = np.append(tables.users.find_rows(users), len(tables.users.ids))
        of_state, given, calendar = {}, {}, {}
        for name in names:
            vocabulary = transform.vocabulary_of(name)
            feature = tables.context.get(name)
            if name in REMEMBERED:
                codes = vocabulary.encode(users if name == "user" else items)
                of_state[name] = Ragged.one_per_row(np.append(codes, 0).astype(np.int64))
            elif feature is not None and feature.derived_from_time:
                calendar[name] = CalendarCodes.from_vocabulary(feature, vocabulary)
            else:
                given[name] = _codes_by_text(vocabulary)
                if feature is None:
                    of_state[name] = _attribute_codes(tables.users, name, vocabulary, user_rows)
        return cls(names, of_state, given, calendar)

    def read(self, request: FeatureRow) -> dict[str, Ints]:
        """Return the request's codes by name: (1,) for a category, (values,) for a bag."""
        state_codes = {"liked": request.liked, "disliked": request.disliked}
        user = np.array([request.user])
        return {name: self._read(name, request, state_codes.get(name, user)) for name in self.names}

    def _read(self, name: str, request: FeatureRow, state_codes: Ints) -> Ints:
        if name in self.calendar:
            return self.calendar[name].read(request.time)
        if name in self.given:
            source = request.given.user if name in self.of_state else request.given.context
            if name in source or name not in self.of_state:
                return _given_codes(self.given[name], source.get(name))
        codes = self.of_state[name]
        rows = np.minimum(state_codes, len(codes) - 1)
        if name in REMEMBERED:
            known: Ints = codes.values[rows]
            return known
        return codes.select_rows(rows).values


@dataclass(frozen=True, slots=True)
class CalendarCodes:
    """A feature that follows from the time, and the code of each of its values, (values,)."""

    type: str
    time_zone: str
    codes: Ints

    @classmethod
    def from_vocabulary(cls, feature: Feature, vocabulary: Vocabulary) -> Self:
        """Look up all values of an hour, weekday or month."""
        ids = calendar_category(feature, np.zeros(1, np.int64)).ids
        return cls(feature.type.value, feature.time_zone, vocabulary.encode(ids).astype(np.int64))

    def read(self, time: int) -> Ints:
        """Return the code at UNIX seconds `time`, (1,)."""
        feature = Feature("", "time", FeatureType(self.type), time_zone=self.time_zone)
        return self.codes[calendar_category(feature, np.array([time])).codes]


def _codes_by_text(vocabulary: Vocabulary) -> dict[str, int]:
    ids = vocabulary.ids.tolist()
    return {str(identity): code for code, identity in enumerate(ids, 1)}


def _attribute_codes(
    users: AttributeTable, name: str, vocabulary: Vocabulary, rows: Ints
) -> Ragged:
    """Return the codes of an attribute of users for the given rows of their table."""
    if name in users.categories:
        codes = vocabulary.encode(users.categories[name])[rows]
        return Ragged.one_per_row(codes.astype(np.int64))
    bag = users.bags[name].select_rows(rows)
    return bag.with_values(vocabulary.encode(bag.values).astype(np.int64))


def _given_codes(codes: Mapping[str, int], value: FeatureValue) -> Ints:
    """Return the codes of a value that a request gives, 0 for one that the model does not know."""
    values = value if isinstance(value, list) else [value]
    return np.array([codes.get(as_category(entry), 0) for entry in values], np.int64)


@dataclass(frozen=True, slots=True)
class RequestNumbers:
    """The numbers that are attributes of items, users and the context.

    Attributes:
        item_names: Numbers of items, then those that are ages.
        of_items: float64 (items + 1, k), the numbers; of ages the years from which they count.
        item_years: How many of the last columns are such years.
        user_names: Likewise of users.
        of_users: float64 (users + 1, k), by code of the live state.
        user_years: See `item_years`.
        context_names: Numbers of the context.
    """

    item_names: tuple[str, ...]
    of_items: NDArray[np.float64]
    item_years: int
    user_names: tuple[str, ...]
    of_users: NDArray[np.float64]
    user_years: int
    context_names: tuple[str, ...]

    @classmethod
    def from_tables(cls, tables: FeatureTables, users: Ints, items: Ints) -> Self:
        """Read the numbers of the keys that a live state has codes for at the start."""
        item_rows = np.append(tables.items.find_rows(items), len(tables.items.ids))
        user_rows = np.append(tables.users.find_rows(users), len(tables.users.ids))
        return cls(
            tuple(tables.item_numbers),
            _columns(tables.items, item_rows),
            len(tables.items.years),
            (*tables.users.numbers, *tables.users.years),
            _columns(tables.users, user_rows),
            len(tables.users.years),
            tuple(tables.context_numbers),
        )

    @property
    def count(self) -> int:
        """Number of columns that are filled."""
        return len(self.item_names) + len(self.user_names) + len(self.context_names)

    def fill(self, request: FeatureRow, rows: Ints) -> None:
        """Write the numbers into the last columns of the request's values.

        `rows` (n,) are those of the items.
        """
        if not self.count:
            return
        out = request.values[:, request.values.shape[1] - self.count :]
        columns = len(self.item_names)
        if columns:
            of_items = self.of_items[rows]
            _age(of_items, self.item_years, request.time)
            out[:, :columns] = of_items
        if len(self.user_names) or len(self.context_names):
            out[:, columns:] = self._of_request(request)

    def _of_request(self, request: FeatureRow) -> NDArray[np.float64]:
        """Return the numbers of the user and the context, (k,)."""
        numbers = np.empty(0)
        if self.user_names:
            row = min(request.user, len(self.of_users) - 1)
            numbers = self.of_users[row].copy()
            for i, name in enumerate(self.user_names):
                if name in request.given.user:
                    numbers[i] = as_number(request.given.user[name])
            _age(numbers[np.newaxis], self.user_years, request.time)
        context = [as_number(request.given.context.get(name)) for name in self.context_names]
        return np.concatenate([numbers, context])


def _columns(table: AttributeTable, rows: Ints) -> NDArray[np.float64]:
    """Return the numbers of a table, then its years, at `rows`, float64 (n, k)."""
    columns = [column[rows] for column in (*table.numbers.values(), *table.years.values())]
    return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))


def _age(numbers: NDArray[np.float64], years: int, time: int) -> None:
    """Turn the last `years` columns into the years from then to UNIX seconds `time`."""
    if years:
        numbers[:, -years:] = years_since(numbers[:, -years:], time)


def known_ids(model: TrainedModel) -> tuple[Ints, Ints]:
    """Return the user and item keys in a model's vocabularies, shape (n,) each, items with repeats.

    The interactions that a live state starts from need not contain them all.
    """
    transform = model.transform
    names = [name for name in feature_names(transform.spec) if name in {"item", *REMEMBERED}]
    ids = {name: transform.vocabulary_of(name).ids for name in names}
    none = np.empty(0, np.int64)
    users = ids.pop("user", none)
    return users, np.concatenate([none, *ids.values()])


def quantile_tables(
    numbers: Sequence[str], boundaries: Sequence[NDArray[np.float64]], names: Sequence[str]
) -> QuantileTables:
    """Return the boundaries (quantiles,) of each named number; columns are those of `names`.

    Raises:
        InputError: There is no number of that name.
    """
    for number in numbers:
        if number not in names:
            raise InputError(f"unknown number {number!r}; expected one of {list(names)}")
    return QuantileTables(
        np.array([names.index(number) for number in numbers], np.int64),
        np.cumsum([0, *map(len, boundaries)], dtype=np.int64),
        np.concatenate([*boundaries, np.empty(0)]),
    )
