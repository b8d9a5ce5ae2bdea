"""Write a `dataset.toml` for a folder: every guess, with its reason as a comment.

`describe` looks at the first rows of each file, recognises the form of the folder, and says of each
column what it is taken for, or why it is left out. A person reads the result, corrects it, and goes
on; `widedeep check` then looks at all rows.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from widedeep.data.columns import SUFFIXES, Column, Sample, ids_follow_activity, tells
from widedeep.data.dataset import (
    KMRD_SPEC,
    SPEC_FILE,
    DatasetSpec,
    LabelRule,
    TimeUnit,
    parse_spec,
)
from widedeep.data.validation import read_labels
from widedeep.inputs import InputError
from widedeep.store import atomic_write

_USER = ("user", "customer", "visitor", "member", "client", "account", "person", "uid", "reviewer")
_ITEM = (
    *("item", "movie", "sku", "product", "article", "book", "song", "track", "film", "news"),
    *("asin", "isbn", "business", "video", "game", "ad", "iid", "pid", "content"),
)
_TIME = ("timestamp", "time", "ts", "datetime", "created", "date", "at", "unix")
_LABEL = (
    *("label", "clicked", "click", "is_click", "liked", "like", "bought", "purchased"),
    *("converted", "target", "y", "watched", "installed", "responded", "positive"),
)
_VALUE = ("rating", "rate", "stars", "score", "overall")
_ACTION = ("action", "event", "event_type", "behavior", "behaviour", "behavior_type", "type")
_BEST_ACTIONS = (
    *("buy", "purchase", "transaction", "order", "like", "addtocart", "cart", "click"),
    *("yes", "true", "positive"),
)
_ID_WORDS = ("id", "ids", "key", "code", "no", "number", "hash", "idx", "index", "uuid", "token")
_TITLE = ("title", "name")
_WEIGHT = ("weight", "sample_weight")

_MOST_CATEGORIES = 5_000
_MOST_VALUES = 250
_TELLS_LABEL = 0.98

_HEADERLESS = {
    "u.data": ("user_id", "item_id", "rating", "timestamp"),
    "u.item": (
        *("item_id", "title", "release_date", "video_release_date", "imdb_url"),
        *(f"genre_{number}" for number in range(19)),
    ),
    "u.user": ("user_id", "age", "gender", "occupation", "zip_code"),
    "ratings.dat": ("user_id", "movie_id", "rating", "timestamp"),
    "movies.dat": ("movie_id", "title", "genres"),
    "users.dat": ("user_id", "gender", "age", "occupation", "zip_code"),
}
"""Files of MovieLens without a header, and their columns by its documentation."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a folder was recognised as.

    Attributes:
        form: The form, as a phrase.
        text: A `dataset.toml` with every guess and its reason.
        spec: What the text says.
    """

    form: str
    text: str
    spec: DatasetSpec


def describe(folder: Path) -> Description:
    """Describe the data in a folder.

    Raises:
        InputError: The folder holds no data, or a role cannot be guessed: no time, two equally
            plausible times, no item, no label.
    """
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"{folder} {problem}; expected a folder of data")
    files = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in SUFFIXES)
    names = {path.name for path in files}
    if "movies.txt" in names and any(re.match(r"(castings|rates(-.*)?)\.csv$", n) for n in names):
        text = KMRD_SPEC.read_text(encoding="utf-8")
        return Description("KMRD", text, parse_spec(text, folder.name))
    if not files:
        raise InputError(f"{folder} has no file of data; expected one of {', '.join(SUFFIXES)}")
    tables = _tables(files)
    text = _Writer(folder, tables, _interactions(folder, tables)).write()
    return Description(_form(names, tables), text, parse_spec(text, folder.name))


def write_description(folder: Path, out: Path | None, *, force: bool) -> tuple[Description, Path]:
    """Describe a folder, write its `dataset.toml`, and return both.

    Args:
        folder: The data.
        out: Where to write; in the folder by default.
        force: Whether a file that exists is written anew.

    Raises:
        InputError: The folder cannot be described, or the file exists and `force` is not set.
    """
    path = folder / SPEC_FILE if out is None else out
    if path.exists() and not force:
        raise InputError(f"{path} exists already; --force writes it anew, --out elsewhere")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; expected one to write {path.name} to")
    description = describe(folder)
    with atomic_write(path) as draft:
        draft.write_text(description.text, encoding="utf-8")
    return description, path


def _form(names: set[str], tables: Sequence["_Table"]) -> str:
    if any(name.endswith(".inter") for name in names):
        return "RecBole's typed headers"
    if names & {*_HEADERLESS}:
        return "MovieLens without headers"
    if "ratings.csv" in names and "movies.csv" in names:
        return "MovieLens' ratings.csv"
    return "one flat table" if len(tables) == 1 else f"{len(tables)} tables"


@dataclass(frozen=True)
class _Table:
    """Files with the same columns, and the sample of the first of them."""

    paths: Sequence[Path]
    sample: Sample

    @property
    def glob(self) -> list[str]:
        """The names of the files, or one pattern for several parts."""
        names = [path.name for path in self.paths]
        if len(names) == 1:
            return names
        start = re.match(r"[^0-9]*", _common_start(names))
        stem = start[0] if start else ""
        return [f"{stem}*{self.paths[0].suffix}"] if stem else names

    def column(self, name: str) -> Column:
        """Return a column of the sample."""
        return self.sample.columns[name]


def _common_start(names: Sequence[str]) -> str:
    length = min(map(len, names))
    same = next((i for i in range(length) if len({n[i] for n in names}) > 1), length)
    return names[0][:same]


def _tables(files: Sequence[Path]) -> list[_Table]:
    """Group the files by their columns."""
    groups: dict[tuple[str, ...], list[tuple[Path, Sample]]] = {}
    for path in files:
        sample = Sample.read(path, _HEADERLESS.get(path.name))
        groups.setdefault((*sample.columns, path.suffix), []).append((path, sample))
    return [_Table([p for p, _ in group], group[0][1]) for group in groups.values()]


def _interactions(folder: Path, tables: Sequence[_Table]) -> _Table:
    """Return the table that has a time, a user and an item, the largest if several do."""
    timed = [table for table in tables if _times(table)]
    if not timed:
        names = ", ".join(name for table in tables for name in table.sample.columns)[:200]
        raise InputError(
            f"{folder}: no column holds times from 1980 to 2100; retraining needs time: what a "
            "model may know of an interaction follows from when it happened. "
            f"Found the columns {names}"
        )
    return max(timed, key=lambda table: (_has_item(table), table.paths[0].stat().st_size))


def _has_item(table: _Table) -> bool:
    return bool(_named(table.sample.columns, _ITEM))


def _times(table: _Table) -> list[str]:
    return [name for name, column in table.sample.columns.items() if column.time_unit]


def _named(names: Iterable[str], hints: Sequence[str]) -> list[str]:
    """Return the names that are or contain one of the hints as a word, the surest first."""
    ranked = []
    for name in names:
        words = [word for word in re.split(r"[^a-z0-9]+|(?<=[a-z])(?=[A-Z])", _snake(name)) if word]
        ranks = [
            (position, hints.index(hint))
            for hint in hints
            for position, matches in enumerate(
                (words == [hint], hint in words, hint in _snake(name))
            )
            if matches and (position < 2 or len(hint) > 3)  # noqa: PLR2004
        ]
        if ranks:
            ranked.append((min(ranks), name))
    return [name for _, name in sorted(ranked)]


def _is_id_name(name: str, hints: Sequence[str]) -> bool:
    """Return whether a name says no more than a hint and that it is an id, as `movieId` does."""
    rest = _snake(name)
    for word in sorted((*hints, *_ID_WORDS), key=len, reverse=True):
        rest = rest.replace(word, "")
    return not re.sub(r"[^a-z0-9]", "", rest)


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@dataclass
class _Writer:
    """Writes the file: the roles of the interactions, the other tables, the features."""

    folder: Path
    tables: Sequence[_Table]
    table: _Table
    lines: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)

    def write(self) -> str:
        """Return the text of the whole `dataset.toml`."""
        self.time = self._time()
        self.item = self._role("item", _ITEM)
        self.user = self._optional_role(_USER)
        self.taken |= {name for name in (self.time, self.item, self.user) if name}
        self.label, self.label_reason = self._label()
        self._write_head()
        self._write_interactions()
        others = [table for table in self.tables if table is not self.table]
        items = self._write_entities("items", self.item, self.user, others)
        if items is not None:
            others.remove(items[0])
        users = None
        if self.user is not None:
            users = self._write_entities("users", self.user, self.item, others)
        self._write_features(items, users)
        return "\n".join(self.lines) + "\n"

    def _time(self) -> str:
        names = _times(self.table)
        hinted = [name for name in _named(names, _TIME) if name in names]
        if len(names) == 1:
            return names[0]
        exact = [name for name in hinted if _snake(name) in _TIME[:3]]
        if len(exact) == 1:
            return exact[0]
        raise InputError(
            f"{self.table.paths[0]}: {' and '.join(names)} both look like the time of an "
            f"interaction; write {self.folder / 'dataset.toml'} by hand with time = the one that "
            "was known when it happened, or rename that one to time"
        )

    def _role(self, role: str, hints: Sequence[str]) -> str:
        name = self._optional_role(hints)
        if name is None:
            names = ", ".join(self.table.sample.columns)
            raise InputError(
                f"{self.table.paths[0]}: no column is named like an {role} "
                f"({', '.join(hints[:6])}, …); found {names}. Rename one to {role}, or write "
                "dataset.toml by hand"
            )
        return name

    def _optional_role(self, hints: Sequence[str]) -> str | None:
        taken = {*self.taken, getattr(self, "time", None), getattr(self, "item", None)}
        free = [name for name in self.table.sample.columns if name not in taken]
        names = [name for name in free if self.table.column(name).may_be_id]
        ids = [name for name in _named(names, hints) if _is_id_name(name, hints)]
        return ids[0] if ids else None

    def _label(self) -> tuple[str, str]:
        """Return the label rule as TOML, and the reason for it."""
        columns = self.table.sample.columns
        free = [name for name in columns if name not in self.taken]
        flags = [name for name in free if columns[name].is_flag and columns[name].distinct == 2]  # noqa: PLR2004
        named_flags = [name for name in _named(free, _LABEL) if name in flags]
        values = [n for n in _named(free, (*_VALUE, *_LABEL)) if columns[n].numeric]
        named = _named(free, (*_ACTION, *_LABEL))
        actions = [n for n in named if 1 < columns[n].distinct <= 20]  # noqa: PLR2004
        if named_flags:
            return self._use_label(LabelRule(named_flags[0]), "it holds 0 and 1")
        if values:
            return self._rating(values[0])
        if actions:
            return self._action(actions[0])
        if len(flags) == 1:
            return self._use_label(LabelRule(flags[0]), "the only column of 0 and 1")
        if flags:
            raise InputError(
                f"{self.table.paths[0]}: {' and '.join(flags)} hold 0 and 1; which one is the "
                f"label? Write {self.folder / 'dataset.toml'} by hand, or rename one to label"
            )
        return "", "every row is a positive one, so negatives are sampled"

    def _use_label(self, rule: LabelRule, reason: str) -> tuple[str, str]:
        self.taken.add(rule.column)
        self.rule = rule
        labels, _ = read_labels(rule, self.table.column(rule.column).texts)
        self.labels = labels
        entries = [f"column = {_text(rule.column)}"]
        if rule.at_least is not None:
            entries.append(f"at_least = {rule.at_least:g}")
        if rule.equals is not None:
            entries.append(f"equals = {_text(str(rule.equals))}")
        share = f"{labels.mean():.0%} of the rows are positive"
        return f"label = {{ {', '.join(entries)} }}", f"{reason}; {share}"

    def _rating(self, name: str) -> tuple[str, str]:
        """Return the threshold whose share of positive labels is closest to a half."""
        self.value = name
        numbers = self.table.column(name).numbers
        numbers = numbers[~np.isnan(numbers)]
        steps = np.unique(numbers)[1:]
        if not len(steps):
            raise InputError(
                f"{self.table.paths[0]}: {name} is always {numbers[0]:g}; expected a label with "
                "two values"
            )
        shares = np.array([(numbers >= step).mean() for step in steps])
        threshold = float(steps[np.argmin(np.abs(shares - 0.5))])
        rule = LabelRule(name, at_least=threshold)
        return self._use_label(rule, "the threshold that comes closest to half of the rows")

    def _action(self, name: str) -> tuple[str, str]:
        column = self.table.column(name)
        actions = column.present.unique().to_pylist()
        best = next((v for hint in _BEST_ACTIONS for v in actions if hint in v.lower()), None)
        rarest = pd.Series(column.present.to_pylist()).value_counts().index[-1]
        rule = LabelRule(name, equals=best or str(rarest))
        others = ", ".join(sorted(actions))[:80]
        return self._use_label(rule, f"one of the actions {others}")

    def _write_head(self) -> None:
        self.lines += [
            f"# What the data in {self.folder.name} mean, guessed from the first rows of files.",
            "# Each guess has its reason; correct what is wrong, and go on with: widedeep check.",
            "version = 1",
            f"name = {_text(self.folder.name)}",
        ]

    def _write_interactions(self) -> None:
        columns, unit = self.table.sample.columns, self.table.column(self.time).time_unit
        self.lines += ["", "[interactions]", f"files = {json.dumps(self.table.glob)}"]
        self._write_file_format(self.table)
        if self.user:
            self.lines.append(f"user = {_text(self.user)}  # {self._ids(columns[self.user])}")
        else:
            self.lines.append("# No column is named like a user: every row is a new user.")
        self.lines.append(f"item = {_text(self.item)}  # {self._ids(columns[self.item])}")
        self.lines.append(f"time = {_text(self.time)}  # {self._span(columns[self.time])}")
        self.lines.append(f"time_unit = {_text((unit or TimeUnit.SECONDS).value)}")
        ids = [columns[name] for name in (self.user, self.item) if name]
        if all(column.integers for column in ids):
            self.lines.append("integer_ids = true  # an id that is no integer is a bad row")
        self.lines.append(f"{self.label}  # {self.label_reason}" if self.label else "")
        self._write_value()
        self._write_weight()
        self.lines.append(self._repeats())
        if not self.label:
            self.lines += ["", f"# {self.label_reason}.", "[negatives]", "per_positive = 4"]

    def _write_file_format(self, table: _Table) -> None:
        if table.sample.separator:
            self.lines.append(f"separator = {_text(table.sample.separator)}")
        if not table.sample.has_header:
            self.lines.append(f"columns = {json.dumps([*table.sample.columns])}  # no header")

    def _ids(self, column: Column) -> str:
        kind = "integers" if column.integers else "text"
        if column.name == self.user and ids_follow_activity(column):
            kind += ", ordered by activity, which tells the future: never read as numbers"
        return f"{column.distinct:,} in {len(column.values):,} rows, {kind}{_missing(column)}"

    def _span(self, column: Column) -> str:
        unit = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
        kind = column.time_unit.value if column.time_unit else ""
        return f"plausible as {unit.get(kind, 'ISO-8601')}{_missing(column)}"

    def _write_value(self) -> None:
        name = getattr(self, "value", None)
        if name is None:
            return
        numbers = self.table.column(name).numbers
        low, high = np.nanmin(numbers), np.nanmax(numbers)
        self.lines.append(
            f"value = {{ column = {_text(name)}, minimum = {low:g}, maximum = {high:g} }}"
            "  # the range that was found; another value is a bad row"
        )

    def _write_weight(self) -> None:
        free = [name for name in self.table.sample.columns if name not in self.taken]
        exact = [name for name in free if _snake(name) in _WEIGHT]
        if exact and self.table.column(exact[0]).numeric:
            self.taken.add(exact[0])
            self.lines.append(f"weight = {_text(exact[0])}  # by its name")

    def _repeats(self) -> str:
        if not self.user:
            self.impressions = bool(self.label)
            return 'repeats = "all"  # there are no users whose interactions could repeat'
        pairs = pd.DataFrame(
            {"user": self.table.column(self.user).keys, "item": self.table.column(self.item).keys}
        )
        share = float(pairs.duplicated().mean())
        rated = hasattr(self, "value")
        policy = "first" if rated or share < 0.01 or not self.label else "all"  # noqa: PLR2004
        self.impressions = policy == "all"
        return f'repeats = "{policy}"  # {share:.1%} of the rows repeat a user and an item'

    def _write_entities(
        self, name: str, key: str, other_key: str | None, tables: Sequence[_Table]
    ) -> tuple[_Table, str] | None:
        """Write the table of items or users, if `tables` have one; return it and its key."""
        known = set(self.table.column(key).keys.tolist())
        best: tuple[float, _Table, str] | None = None
        for table in tables:
            if other_key in table.sample.columns and key not in table.sample.columns:
                continue
            for column in table.sample.columns.values():
                share = self._covered(column, known, same_name=column.name == key)
                if share > (best[0] if best else 0.5):
                    best = (share, table, column.name)
        if best is None:
            return None
        share, table, column_name = best
        shown = min(share, 1.0)
        self.lines += ["", f"[{name}]", f"files = {json.dumps(table.glob)}"]
        self._write_file_format(table)
        self.lines.append(
            f"id = {_text(column_name)}  # holds {shown:.0%} of the {len(known):,} in the "
            "interactions, each once"
        )
        title = self._title(table, column_name) if name == "items" else None
        if title:
            self.lines.append(f"title = {_text(title)}  # by its name")
            self.taken.add(f"{name}.{title}")
        self.taken.add(f"{name}.{column_name}")
        return table, column_name

    def _covered(self, column: Column, known: set[int], *, same_name: bool) -> float:
        """Return the share of known ids in a column of distinct ids; 0 if it has repeats."""
        if column.distinct < 0.999 * len(column.values):
            return 0.0
        share = len(known & set(column.keys.tolist())) / max(len(known), 1)
        return share + 0.5 * same_name if share > 0.2 else 0.0  # noqa: PLR2004

    def _title(self, table: _Table, key: str) -> str | None:
        names = [n for n, c in table.sample.columns.items() if n != key and not c.numeric]
        return next(iter(_named(names, _TITLE)), None)

    def _write_features(
        self, items: tuple[_Table, str] | None, users: tuple[_Table, str] | None
    ) -> None:
        self.wide: list[str] = []
        names: set[str] = set()
        for name, entity in (("users", users), ("items", items)):
            if entity is not None:
                for column in entity[0].sample.columns.values():
                    if f"{name}.{column.name}" not in self.taken:
                        self._write_feature(name, column, names, None)
        for column in self.table.sample.columns.values():
            if column.name not in self.taken:
                self._write_feature("interactions", column, names, self._side(column))
        self._write_calendar(names)
        if self.wide:
            small = json.dumps([name for name in self.wide if name])
            self.lines += [
                "",
                "[model]",
                f"# Each user's residuals are kept on features of at most {_MOST_VALUES} values.",
                f"user_residuals = {small}",
            ]

    def _side(self, column: Column) -> str | None:
        """Return whether a column of the interactions is an attribute of the user or the item."""
        for side, key in (("user", self.user), ("item", self.item)):
            if key is None:
                continue
            frame = pd.DataFrame({"key": self.table.column(key).keys, "value": column.keys})
            repeated = frame[frame["key"].duplicated(keep=False)]
            first = repeated.groupby("key")["value"].transform("first")
            constant = (first == repeated["value"]).groupby(repeated["key"]).all()
            if len(constant) >= 20 and constant.mean() > 0.999:  # noqa: PLR2004
                return side
        return None

    def _write_feature(self, table: str, column: Column, names: set[str], side: str | None) -> None:
        reason = self._reason_to_leave_out(table, column, side)
        if reason:
            self.lines += ["", f"# Left out: {table}.{column.name}: {reason}{_missing(column)}."]
            return
        kind, why, options = self._type(column)
        name = self._feature_name(column.name, table, kind, names)
        self.lines += [
            "",
            "[[features]]",
            f"name = {_text(name)}",
            f"from = {_text(f'{table}.{column.name}')}",
            f"type = {_text(kind)}  # {why}{_missing(column)}",
            *options,
        ]
        if side:
            self.lines.append(f"side = {_text(side)}  # each {side} has one value in all rows")
        if (table == "items" or side == "item") and kind in {"category", "bag"}:
            self.wide.append(name if column.distinct <= _MOST_VALUES else "")

    def _feature_name(self, name: str, table: str, kind: str, names: set[str]) -> str:
        clean = re.sub(r"\W+", "_", name).strip("_") or "feature"
        reserved = {"user", "item", "time", "label", "value", "weight", "liked", "disliked"}
        if clean in names or clean in reserved:
            clean = f"{table.rstrip('s')}_{clean}"
        if kind == "age" and clean in {"year", "release_year", "released"}:
            clean = "item_age"
        names.add(clean)
        return clean

    def _reason_to_leave_out(self, table: str, column: Column, side: str | None) -> str | None:
        if not column.name.strip():
            return "it has no name"
        if column.counts_rows:
            return "it numbers the rows"
        if column.distinct <= 1 and (column.distinct == 0 or column.missing == 0):
            return "a constant" if column.distinct else "it has no value"
        return self._leak(table, column, side) or _too_many_values(column)

    def _leak(self, table: str, column: Column, side: str | None) -> str | None:
        """Return how a column of the interactions tells the label or the future."""
        if table == "interactions" and column.time_unit:
            return "another time, which may be later than the interaction and tell the future"
        if table == "interactions" and side is None and hasattr(self, "labels"):
            area = tells(column, self.labels)
            if area > _TELLS_LABEL:
                return f"it alone tells the label (AUC {area:.3f}), so it was known too late"
        return None

    def _type(self, column: Column) -> tuple[str, str, list[str]]:
        """Return a column's type, the reason, and further lines."""
        separator = column.bag_separator
        if column.is_list:
            return "bag", f"lists of {column.distinct:,} different kinds", []
        if separator is not None:
            shown = {" ": "spaces", "|": "bars", ";": "semicolons", ",": "commas"}[separator]
            return "bag", f"values with {shown} between", [f"separator = {_text(separator)}"]
        if column.is_year:
            return "age", "years; the feature is the years since then", []
        if column.numeric and (column.distinct > 20 or _fractional(column)):  # noqa: PLR2004
            return "number", f"{column.distinct:,} different numbers", []
        return "category", f"{column.distinct:,} different values", []

    def _write_calendar(self, names: set[str]) -> None:
        if not getattr(self, "impressions", False):
            return
        for name in ("hour", "weekday"):
            if name not in names:
                self.lines += [
                    "",
                    "[[features]]",
                    f"name = {_text(name)}",
                    'from = "time"',
                    f"type = {_text(name)}  # what people do depends on it; in this time zone",
                    'time_zone = "UTC"',
                ]


def _too_many_values(column: Column) -> str | None:
    """Return why a text has too many values to be a category."""
    if column.numeric or column.is_list or column.bag_separator:
        return None
    rows = len(column.present)
    if column.distinct > 0.5 * rows and column.distinct > 50:  # noqa: PLR2004
        return f"nearly one value a row ({column.distinct:,} in {rows:,}): an id or free text"
    if column.distinct > _MOST_CATEGORIES:
        return f"{column.distinct:,} different texts"
    return None


def _fractional(column: Column) -> bool:
    numbers = column.numbers[~np.isnan(column.numbers)]
    return bool((numbers != np.floor(numbers)).any())


def _missing(column: Column) -> str:
    return f"; {column.missing:.1%} missing"


def _text(value: str) -> str:
    """Return a TOML string."""
    return json.dumps(value, ensure_ascii=False)
