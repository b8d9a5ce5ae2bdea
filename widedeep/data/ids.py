"""Ids of users, items and named things: text or integers outside, int64 keys inside.

An id that is written as a plain integer (`17`) has that integer as its key. Any other text has a
key above all of them: 2^62 plus 62 bits of its BLAKE2b digest. So a key depends on the id alone, is
the same in every run, process and data set, and warm starts, servers and files agree without a
table that numbers the ids. Two texts with one key are found by `TextIds` and refused; among ten
million ids the chance of such a pair is one in 90,000.

Text is brought into Unicode's composed form (NFC) and freed of space around it first, so that 가
typed on a Mac (two code points) is the 가 of a web form (one).
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from widedeep.inputs import InputError

FIRST_TEXT_KEY = 1 << 62
"""Keys from here on are those of texts; integers are shorter than 19 digits."""

UNKNOWN_KEY = -1
"""A key that no id has."""

_LONGEST_INTEGER = 18
_FIRST_LONG_INTEGER = 10**_LONGEST_INTEGER
_DIGEST_BITS = 62
_TRUTHS = ("True", "False")
_WHOLE = r"^(-?[0-9]+)\.0+$"

Keys = NDArray[np.int64]


def id_text(identity: str | float) -> str:
    """Return an id as it is compared: composed (NFC), without space around it."""
    return unicodedata.normalize("NFC", str(identity)).strip()


def id_key(identity: str | int) -> int:
    """Return the key of an id, an integer or text.

    Raises:
        InputError: The text is empty.
    """
    if isinstance(identity, int) and 0 <= identity < _FIRST_LONG_INTEGER:
        return identity
    text = id_text(identity)
    if not text:
        raise InputError("an id is empty; expected an integer or text")
    if _is_plain_integer(text):
        return int(text)
    digest = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return FIRST_TEXT_KEY | digest >> (64 - _DIGEST_BITS)


def _is_plain_integer(text: str) -> bool:
    """Return whether text is an integer as `str` writes it, so that 7 and 007 are two ids."""
    plain = text.isascii() and text.isdecimal() and len(text) <= _LONGEST_INTEGER
    return plain and (text == "0" or text[0] != "0")


def composed(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return each text in composed form (NFC) without space around it, (n,) string."""
    trimmed = pc.utf8_trim_whitespace(texts)
    if _all_ascii(trimmed):
        return trimmed
    # Not by Arrow's utf8_normalize, which leaves text decomposed (apache/arrow issue 51225).
    encoded = trimmed.combine_chunks().dictionary_encode()
    distinct = [unicodedata.normalize("NFC", text) for text in encoded.dictionary.to_pylist()]
    return pa.chunked_array([pa.array(distinct, pa.string()).take(encoded.indices)])


def category_text(value: str | float) -> str:
    """Return the id of a category's value: `true`, and 1 for 1.0, however it was typed."""
    text = re.sub(_WHOLE, r"\1", id_text(value))
    return text.lower() if text in _TRUTHS else text


def category_texts(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return `category_text` of each text from `composed`, (n,)."""
    whole = pc.replace_substring_regex(texts, _WHOLE, r"\1")
    is_truth = pc.is_in(whole, pa.array(_TRUTHS))
    return pc.if_else(is_truth, pc.utf8_lower(whole), whole)


def _all_ascii(texts: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.string_is_ascii(texts)).as_py() in {True, None})


def id_keys(texts: pa.ChunkedArray) -> Keys:
    """Return the key of each id, int64 (n,).

    Args:
        texts: (n,) string from `composed`; null and empty texts get `UNKNOWN_KEY`.
    """
    digits = pc.and_(
        pc.ascii_is_decimal(texts), pc.less_equal(pc.binary_length(texts), _LONGEST_INTEGER)
    )
    leading_zero = pc.and_(pc.starts_with(texts, "0"), pc.not_equal(texts, "0"))
    plain = pc.and_not(digits, leading_zero)
    if pc.all(plain, skip_nulls=False).as_py():
        integers: Keys = texts.cast(pa.int64()).to_numpy()
        return integers
    encoded = texts.combine_chunks().dictionary_encode()
    keys = [id_key(text) if text else UNKNOWN_KEY for text in encoded.dictionary.to_pylist()]
    codes = encoded.indices.fill_null(len(keys)).to_numpy(zero_copy_only=False)
    of_rows: Keys = np.array([*keys, UNKNOWN_KEY], np.int64)[codes]
    return of_rows


@dataclass(frozen=True, slots=True)
class TextIds:
    """The texts of keys that are not integers, to show them as they stand in the data."""

    texts: Mapping[int, str]

    @classmethod
    def from_table(cls, keys: Keys, texts: list[str]) -> "TextIds":
        """Keep the texts of those keys that are no integers.

        Raises:
            InputError: Two different texts have one key.
        """
        known: dict[int, str] = {}
        for row in np.flatnonzero(keys >= FIRST_TEXT_KEY).tolist():
            key, text = int(keys[row]), texts[row]
            if known.setdefault(key, text) != text:
                raise InputError(
                    f"the ids {known[key]!r} and {text!r} have the same 62-bit key; rename one"
                )
        return cls(known)

    def with_texts(self, texts: Iterable[str]) -> "TextIds":
        """Return these ids and those among `texts` that are no integers."""
        known = dict(self.texts)
        for text in map(id_text, texts):
            if (key := id_key(text)) >= FIRST_TEXT_KEY:
                known.setdefault(key, text)
        return TextIds(known)

    def column(self, keys: Keys) -> pa.Array:
        """Return ids as they stand in the data, (n,): int64, or text if there are any texts."""
        if not self.texts:
            return pa.array(keys)
        distinct, codes = np.unique(keys, return_inverse=True)
        texts = pa.array([str(self.text(key)) for key in distinct.tolist()], pa.string())
        return texts.take(pa.array(codes))

    def text(self, key: int) -> int | str:
        """Return an id as it stands in the data; an integer id is its own key."""
        return self.texts.get(key, key)


NO_TEXTS = TextIds({})
"""All ids are integers."""


def column_keys(column: pa.ChunkedArray) -> Keys:
    """Return the keys of a column of ids as `TextIds.column` writes it, int64 (n,)."""
    if pa.types.is_integer(column.type):
        keys: Keys = column.to_numpy()
        return keys
    return id_keys(composed(column))


def text_keys(texts: pa.ChunkedArray, keys: Keys) -> pa.Table:
    """Return those of some ids that are not integers, each once: `key` int64, `id` string."""
    rows = pa.array(np.flatnonzero(keys >= FIRST_TEXT_KEY))
    distinct = texts.take(rows).unique()
    return pa.table({"key": id_keys(pa.chunked_array([distinct])), "id": distinct})
