"""What the names of columns and files say: the words in them, and what they are hints of."""

import re
from collections.abc import Iterable, Sequence

from widedeep.data.dataset import Side

USER = (
    *("user", "customer", "visitor", "member", "client", "account", "person", "uid", "reviewer"),
    *("viewer", "reader", "listener", "player", "session"),
)
ITEM = (
    *("item", "movie", "sku", "product", "article", "book", "song", "track", "film", "news"),
    *("asin", "isbn", "business", "video", "game", "ad", "iid", "pid", "content"),
    *("anime", "artist", "recipe", "course", "job", "hotel", "restaurant", "listing", "goods"),
)
ID_WORDS = {"id", "ids", "key", "no", "nr", "num", "number", "code", "idx", "index", "hash", "uuid"}
TIME = ("timestamp", "time", "ts", "datetime", "created", "date", "at", "unix")
TITLE = ("title", "name")

NUMBERS = {
    *("age", "price", "cost", "amount", "count", "number", "num", "length", "size", "rank"),
    *("position", "rating", "weight", "height", "distance", "income", "salary", "quantity", "qty"),
}
"""Words of columns that hold numbers, even if there are few different ones."""

CATEGORIES = {
    *("occupation", "gender", "sex", "type", "kind", "class", "group", "genre", "brand", "country"),
    *("city", "region", "state", "segment", "language", "category", "cat", "device", "platform"),
}
"""Words of columns that hold categories, even if they are written as numbers."""

CODES = {"id", "code", "zip", "zipcode", "postcode", "postal", "no", "nr", "uuid", "hash", "phone"}
"""Words of columns that hold ids or codes, even if they are written as numbers."""

UNNAMED = (3, 0)
"""The rank of a name that is no hint."""


def words_of(name: str) -> list[str]:
    """Return the words of a column's name in lower case: userId and user_id are user, id."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    return [word for word in re.split(r"[\W_]+", snake) if word]


def named(names: Iterable[str], hints: Sequence[str]) -> list[str]:
    """Return the names that are or contain one of the hints as a word, the surest first."""
    ranked = sorted((rank_of(name, hints), name) for name in names)
    return [name for rank, name in ranked if rank < UNNAMED]


def named_like(side: Side, names: Iterable[str]) -> bool:
    """Return whether a name is like that of a user or an item."""
    return bool(named(names, USER if side is Side.USER else ITEM))


def rank_of(name: str, hints: Sequence[str]) -> tuple[int, int]:
    """Return how sure it is that a name means one of the hints; `UNNAMED`: not at all.

    The order is: the hint itself (perhaps with `id`), one of several words, a part of a word.
    """
    words = words_of(name)
    joined = "_".join(words)
    own = [word for word in words if word not in ID_WORDS] or words
    ranks = []
    for position, hint in enumerate(hints):
        if joined == hint or own == [hint] or joined == f"{hint}id":
            ranks.append((0, position))
        elif hint in words:
            ranks.append((1, position))
        elif len(hint) > 3 and hint in joined:  # noqa: PLR2004
            ranks.append((2, position))
    return min(ranks, default=UNNAMED)
