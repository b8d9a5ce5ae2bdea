"""The first line of a delimited file: what separates its columns, and which columns it has."""

import csv
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from widedeep.inputs import InputError, close_name

SEPARATORS = {"::": "two colons", ",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}
"""What may separate columns, and the word for it."""

QUOTING = (",", ";")
"""Separators of files that may quote a field."""

LONGEST_QUOTE = 120
"""Characters of a header or of names that a message shows at most."""

BOM = b"\xef\xbb\xbf"
_TYPED = re.compile(r"^(?P<name>.+):(?:token|token_seq|float|float_seq)$")
_TYPED_HEADERS = (".inter", ".item", ".user")
_SEPARATOR_LINE = re.compile(r"^sep=.?$")
_OTHER_FORMS = {
    b"\x1f\x8b": "a gzip archive; expected text: unpack it",
    b"PK\x03\x04": "a zip archive or a workbook; expected text: unpack it, or save it as CSV",
    b"PAR1": "a Parquet file; give it a name that ends in .parquet",
    b"\xff\xfe": "UTF-16 text; save the file as UTF-8",
    b"\xfe\xff": "UTF-16 text; save the file as UTF-8",
}
"""How files begin that are no text with a line for each row, and what they are."""


def refuse_other_forms(path: Path, first: bytes) -> None:
    """Raise InputError if a file that begins with the line `first` is no text of single rows."""
    for mark, form in _OTHER_FORMS.items():
        if first.startswith(mark):
            raise InputError(f"{path} is {form}")
    if b"\0" in first:
        raise InputError(
            f"{path} has zero bytes in its first line, so it is binary or UTF-16; expected text: "
            "save the file as UTF-8"
        )
    if not first.removeprefix(BOM).strip():
        raise InputError(f"{path} is empty or starts with a blank line; expected a header")
    if b"\r" in first.rstrip(b"\r\n"):
        raise InputError(
            f"{path}: its lines end with a carriage return alone; expected a line feed, which "
            f"tr '\\r' '\\n' < {path.name} > FILE writes"
        )


@lru_cache
def recognise_separator(header: str) -> str:
    """Return the separator that cuts a header into most columns; a comma if none does."""
    return max(SEPARATORS, key=lambda separator: len(split_header(header, separator)))


@lru_cache
def split_header(header: str, separator: str) -> tuple[str, ...]:
    """Return the fields of a header line, without blanks around them."""
    fields = unquote(header, separator) if separator in QUOTING else header.split(separator)
    return tuple(field.strip() for field in fields)


def typed_name(name: str, path: Path) -> str:
    """Return a column's name without RecBole's type: `user_id:token` in a .inter file → user_id."""
    typed = _TYPED.match(name) if path.suffix in _TYPED_HEADERS else None
    return typed["name"] if typed else name


def column_names(
    header: str, path: Path, columns: Sequence[str], separator: str
) -> tuple[str, ...]:
    """Return the names of all columns in a header, in their order; some may be empty.

    Raises:
        InputError: One of `columns` is missing, or a column is there twice.
    """
    names = tuple(typed_name(name, path) for name in split_header(header, separator))
    if any(name not in names for name in columns):
        if _SEPARATOR_LINE.match(header):
            raise InputError(
                f"{path}: its first line, {header}, is meant for Excel; expected the names of the "
                "columns: delete this line"
            )
        _refuse_other_separator(header, path, columns, separator)
    refuse_other_columns(path, names, columns)
    return names


def refuse_other_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise InputError if one of `columns` is missing among `names`, or a name is there twice."""
    missing = [name for name in columns if name not in names]
    if missing:
        raise InputError(
            f"{path}: column {', '.join(missing)} missing{close_name(missing[0], names)}; "
            f"found {', '.join(names)[:LONGEST_QUOTE]}; expected {', '.join(columns)}"
        )
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError(f"{path}: column {', '.join(twice)} is in the header more than once")


def _refuse_other_separator(header: str, path: Path, columns: Sequence[str], expected: str) -> None:
    for separator, word in SEPARATORS.items():
        names = {typed_name(name, path) for name in split_header(header, separator)}
        if separator != expected and set(columns) <= names:
            other = SEPARATORS.get(expected, repr(expected))
            raise InputError(f"{path}: columns are separated by {word}; expected {other}")


def unquote(line: str, separator: str) -> list[str]:
    """Return the fields of a line that may quote them; blanks may stand before a quote."""
    reader = csv.reader([line], delimiter=separator, strict=True, skipinitialspace=True)
    try:
        return next(reader) or [""]
    except csv.Error:  # a quote is not closed, so the line cannot be split
        return [line]
