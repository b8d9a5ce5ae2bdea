"""The tables of a data set, as its `dataset.toml` declares them.

`InteractionsTable` has the roles of columns and the label rule, `AttributesTable` is that of items
or of users, and an `ExtraTable` holds the values of a bag, one a row, or names of ids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict

from widedeep.inputs import InputError

STRICT = ConfigDict(extra="forbid")
"""An entry that is not declared is an error."""


_MARKS = "\r\n\t,;|:"


def _check_encoding(name: str) -> str:
    try:
        marks = _MARKS.encode(name)
    except LookupError as error:
        message = f"{name!r} is no encoding; expected one such as utf-8, cp949 or iso-8859-1"
        raise ValueError(message) from error
    if marks != _MARKS.encode("ascii"):
        raise ValueError(f"{name!r} cannot be read line by line; save the file as UTF-8")
    return name


Encoding = Annotated[str, AfterValidator(_check_encoding)]
"""The encoding of text files, by its name in Python."""


class TimeUnit(StrEnum):
    """The unit of a time column; ISO is text such as 2018-10-01T12:00:00+09:00."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"
    NANOSECONDS = "ns"
    ISO = "iso"


@dataclass(frozen=True, slots=True)
class LabelRule:
    """When an interaction is positive.

    `at_least` compares numbers, `equals` compares text; without either the column holds 0 or 1.
    """

    column: str
    at_least: float | int | None = None
    equals: str | int | float | bool | None = None
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    def is_positive(self, value: float) -> bool:
        """Return whether a number in the label's column is positive."""
        if self.at_least is not None:
            return value >= self.at_least
        return str(self.equals) == f"{value:g}" if self.equals is not None else value == 1

    def to_text(self) -> str:
        """Return the rule for people, such as `rate >= 10`."""
        if self.at_least is not None:
            return f"{self.column} >= {self.at_least:g}"
        return f"{self.column} = {1 if self.equals is None else self.equals}"


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """The number of an interaction that history averages, and the range it must lie in.

    History counts values as parts of `maximum`, if it is given.
    """

    column: str
    minimum: float | int | None = None
    maximum: float | int | None = None
    integer: bool = False
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True)
class TitleColumn:
    """A column of display names.

    With `pattern`, the name is what its first group matches; with `last_of`, it is the last part
    that is not empty between texts like this one.
    """

    column: str
    pattern: str | None = None
    last_of: str | None = None
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True)
class InteractionsTable:
    """The table of interactions.

    Attributes:
        files: Globs below the folder; their rows are read one file after another.
        item: Column of the item's id.
        time: Column of the time.
        label: When a row is positive; None, with sampled negatives: every row is.
        user: Column of the user's id; None for anonymous traffic, in which every row is a new user.
        time_unit: Unit of the time; recognised from the values if None.
        value: The number that history averages; None: the label.
        weight: Column of a row's weight in training.
        integer_ids: Whether ids are integers, so that a row with another id is a bad row.
        repeats: Whether only the first row of a (user, item) is an example, or all are.
        separator: Between columns; recognised from the header if None.
        encoding: Of the files' text.
        columns: Names of the columns of files without a header.
    """

    files: tuple[str, ...]
    item: str
    time: str
    label: LabelRule | None = None
    user: str | None = None
    time_unit: TimeUnit | None = None
    value: ValueColumn | None = None
    weight: str | None = None
    integer_ids: bool = False
    repeats: Literal["first", "all"] = "first"
    separator: str | None = None
    encoding: Encoding = "utf-8"
    columns: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = STRICT

    @property
    def label_from_value(self) -> bool:
        """Whether the label of an interaction follows from its value."""
        same = self.value is not None and self.label is not None
        return same and self.label.column == self.value.column  # type: ignore[union-attr]

    def check_id(self, what: str, identity: str) -> None:
        """Raise InputError if ids are integers and this one is not; `what` says whose it is."""
        if self.integer_ids and not identity.strip().removeprefix("-").isdecimal():
            raise InputError(
                f"{what} {identity!r} is not an integer, as all ids in these data are "
                "(integer_ids in dataset.toml)"
            )

    def read_feedback(
        self,
        value: float | None,
        label: bool | None,  # noqa: FBT001  as it was given
    ) -> tuple[float, bool]:
        """Return value and label of an interaction that a server is told of.

        Raises:
            InputError: One that is needed is missing, or the value is out of range.
        """
        if self.value is not None:
            self._check_value(value)
        if self.label_from_value and value is not None and self.label is not None:
            label = self.label.is_positive(value)
        if label is None:
            raise InputError("label is missing; expected true or false")
        return (float(label) if value is None or self.value is None else value), label

    def _check_value(self, value: float | None) -> None:
        column = self.value
        if column is None:
            return
        low, high = column.minimum, column.maximum
        expected = "an integer" if column.integer else "a number"
        if low is not None and high is not None:
            expected += f" from {low:g} to {high:g}"
        wrong = value is None or (column.integer and value != int(value))
        wrong = wrong or (low is not None and value < low) or (high is not None and value > high)  # type: ignore[operator]
        if wrong:
            raise InputError(f"value is {value}; expected {expected}")


@dataclass(frozen=True, slots=True)
class AttributesTable:
    """A table with one row for each item or user.

    Attributes:
        files: Globs below the folder.
        id: Column of the item's or user's id.
        title: Column of the display name, or columns by language (`ko`, `en`, …).
        called: What people call such an item or user, by language: film, 영화.
        age_rating: The category of items that says from which age they may be shown.
        released: The feature of type age that says when an item came out; later ones are not shown.
        complete: Whether an interaction of an id that the table lacks is a bad row; otherwise its
            attributes are missing.
        separator: Between columns; recognised from the header if None.
        encoding: Of the files' text.
        columns: Names of the columns of files without a header.
    """

    files: tuple[str, ...]
    id: str
    title: Mapping[str, TitleColumn] = field(default_factory=dict)
    called: Mapping[str, str] = field(default_factory=dict)
    age_rating: str | None = None
    released: str | None = None
    complete: bool = False
    separator: str | None = None
    encoding: Encoding = "utf-8"
    columns: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


@dataclass(frozen=True, slots=True)
class ExtraTable:
    """A further table: values of a bag, one a row (with `of`), or names of ids (with `title`).

    Attributes:
        files: Globs below the folder.
        id: Column of the item's or user's id, or of the named id.
        of: Whose values the rows are: `items` or `users`.
        title: Columns of names by language.
        optional: Whether the files may be absent.
        separator: Between columns; recognised from the header if None.
        encoding: Of the files' text.
        columns: Names of the columns of files without a header.
    """

    files: tuple[str, ...]
    id: str
    of: Literal["items", "users"] | None = None
    title: Mapping[str, TitleColumn] = field(default_factory=dict)
    optional: bool = False
    separator: str | None = None
    encoding: Encoding = "utf-8"
    columns: tuple[str, ...] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = STRICT


Table = InteractionsTable | AttributesTable | ExtraTable
