"""What a request says besides its user and items: the context, and attributes of the user.

What it does not say is missing (of the context) or as it is known (of the user); a value that the
model has never seen is out of vocabulary.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from widedeep.data.ids import category_text
from widedeep.data.tables import MISSING, Categories, Context, ContextColumn
from widedeep.features.attributes import AttributeTable, FeatureTables
from widedeep.features.ragged import Ragged
from widedeep.inputs import InputError, close_name

FeatureValue: TypeAlias = str | float | int | bool | list[str] | None
"""A feature's value as a request gives it; None is a missing one."""


@dataclass(frozen=True, slots=True)
class RequestFeatures:
    """The features that a request gives.

    Attributes:
        context: Values of context features, by name.
        user: Values of the user's attributes, by name, which count instead of the known ones.
    """

    context: Mapping[str, FeatureValue] = field(default_factory=dict)
    user: Mapping[str, FeatureValue] = field(default_factory=dict)

    @classmethod
    def from_texts(cls, texts: Iterable[str], tables: FeatureTables) -> "RequestFeatures":
        """Read texts such as `device=mobile`; the values of a bag are separated by commas.

        Raises:
            InputError: A text has no `=`, or names no feature of users or of the context.
        """
        context: dict[str, FeatureValue] = {}
        user: dict[str, FeatureValue] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if not equals:
                raise InputError(f"{text!r} is no feature; expected NAME=VALUE, as device=mobile")
            if name in tables.users.bags:
                user[name] = value.split(",")
            elif name in user_features(tables):
                user[name] = value
            else:
                context[name] = value
        given = cls(context, user)
        given.check(tables)
        return given

    def check(self, tables: FeatureTables) -> None:
        """Raise InputError if a name is none of the features, or the value of a number is none.

        Other values are not checked: those of categories and bags may be unknown.
        """
        for what, names, known in (
            ("the context", self.context, context_features(tables)),
            ("a user", self.user, user_features(tables)),
        ):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{name!r} is no feature of {what}{close_name(name, known)}; expected one "
                        f"of {', '.join(known) or 'none: the data have no such feature'}"
                    )
        for name in tables.request_numbers:
            value = self.context.get(name, self.user.get(name))
            if value is not None and not np.isfinite(as_number(value)):
                raise InputError(f"{name} is {value!r}; expected a number")


NOTHING_GIVEN = RequestFeatures()


def context_features(tables: FeatureTables) -> list[str]:
    """Return the names of the context features that a request may give."""
    return [name for name, f in tables.context.items() if not f.derived_from_time]


def user_features(tables: FeatureTables) -> list[str]:
    """Return the names of the attributes of a user."""
    users = tables.users
    return [*users.categories, *users.bags, *users.numbers, *users.years]


def as_category(value: FeatureValue) -> str:
    """Return a given value as the id of a category."""
    if value is None:
        return MISSING
    return ",".join(value) if isinstance(value, list) else category_text(value)


def as_number(value: FeatureValue) -> float:
    """Return a given value as a number, NaN if it is missing."""
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def given_context(given: RequestFeatures, tables: FeatureTables, rows: int) -> Context:
    """Return the context that a request gives, as columns of `rows` equal rows."""
    columns: dict[str, ContextColumn] = {}
    for name in context_features(tables):
        value = given.context.get(name)
        columns[name] = (
            Categories.repeated(as_category(value), rows)
            if name in tables.context_categories
            else np.full(rows, as_number(value))
        )
    return columns


def with_given_user(tables: FeatureTables, user: int, given: RequestFeatures) -> FeatureTables:
    """Return tables in which the user has the attributes that a request gives."""
    if not given.user:
        return tables
    users, row = tables.users, tables.users.find_rows(np.array([user]))
    own = AttributeTable(np.array([user]), texts=users.texts)
    for name, values in users.categories.items():
        value = given.user.get(name, str(values[row[0]]))
        own.categories[name] = np.array([as_category(value), MISSING], np.dtypes.StringDType())
    for name, bag in users.bags.items():
        entries = given.user.get(name, bag.select_rows(row).values.tolist())
        listed = entries if isinstance(entries, list) else [as_category(entries)]
        own.bags[name] = Ragged.from_lists([listed, []], bag.values.dtype)
    _set_numbers(users.numbers, own.numbers, row, given)
    _set_numbers(users.years, own.years, row, given)
    return FeatureTables(tables.items, own, tables.context)


def _set_numbers(
    known: Mapping[str, NDArray[np.float64]],
    own: dict[str, NDArray[np.float64]],
    row: NDArray[np.int64],
    given: RequestFeatures,
) -> None:
    """Write the given numbers, or else the known ones of `row`, and that of an unknown user."""
    for name, column in known.items():
        number = as_number(given.user[name]) if name in given.user else column[row[0]]
        own[name] = np.array([number, np.nan])
