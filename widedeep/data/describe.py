"""Write a `dataset.toml` for a folder: every guess, with its reason as a comment.

`describe` looks at the first rows of each file, recognises the form of the folder, and says of each
column what it is taken for, or why it is left out. A person reads the result, corrects it, and goes
on; `widedeep check` then looks at all rows.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from pathlib import Path

import numpy as np

from widedeep.data.dataset import CATEGORICAL, NUMERICAL, DatasetSpec, FeatureType, Side
from widedeep.data.dataset_file import KMRD_SPEC, SPEC_FILE, parse_spec
from widedeep.data.dataset_tables import TimeUnit
from widedeep.data.profile.columns import Column
from widedeep.data.profile.entities import EntityTable, guess_entities, unused_reason
from widedeep.data.profile.feature_types import (
    SMALL,
    Guess,
    GuessedFeature,
    LeftOut,
    guess_features,
)
from widedeep.data.profile.labels import tells_goal
from widedeep.data.profile.leakage import activity_correlation
from widedeep.data.profile.roles import Roles, guess_ids, guess_roles, times_of
from widedeep.data.profile.samples import Sample, data_files, read_samples
from widedeep.inputs import InputError
from widedeep.store import atomic_write

_UNITS = {
    TimeUnit.SECONDS: "UNIX seconds",
    TimeUnit.MILLISECONDS: "UNIX milliseconds",
    TimeUnit.MICROSECONDS: "UNIX microseconds",
    TimeUnit.NANOSECONDS: "UNIX nanoseconds",
    TimeUnit.ISO: "ISO-8601",
}
_FOLLOWS_ACTIVITY = 0.8
_MANY_IDS = 100
_MOST_CROSSES = 8


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
            plausible times, no item, several columns that may be the label.
    """
    files = data_files(folder)
    names, name = {path.name for path in files}, folder.resolve().name
    if "movies.txt" in names and any(re.match(r"(castings|rates(-.*)?)\.csv$", n) for n in names):
        text = KMRD_SPEC.read_text(encoding="utf-8")
        text = text.replace("version = 1\n", f"version = 1\nname = {_text(name)}\n", 1)
        return Description("KMRD", text, parse_spec(text, name))
    tables, ignored = read_samples(files)
    table = _interactions(tables)
    others = [other for other in tables if other is not table]
    roles = guess_roles(table, others)
    entities = guess_entities(roles, table, others)
    used = [table, *(entity.sample for entity in entities)]
    ignored |= {
        ", ".join(path.name for path in other.paths): unused_reason(roles, table, other)
        for other in others
        if not any(other is sample for sample in used)
    }
    lines = [
        *_head(name, ignored),
        *_interactions_section(roles, table),
        *(line for entity in entities for line in _entity_section(roles, table, entity)),
        *_feature_sections(guess_features(roles, table, entities)),
    ]
    text = "\n".join(lines) + "\n"
    return Description(_form(names, used), text, parse_spec(text, name))


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
    if folder.is_dir() and not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}; expected one to write {path.name} to")
    description = describe(folder)
    with atomic_write(path) as draft:
        draft.write_text(description.text, encoding="utf-8")
    return description, path


def _interactions(tables: Sequence[Sample]) -> Sample:
    """Return the table with a user, an item, a time and a label; of several the largest."""

    def likeness(table: Sample) -> tuple[int, bool, bool, int]:
        others = [other for other in tables if other is not table]
        ids = sum(name is not None for name in guess_ids(table, others))
        size = sum(path.stat().st_size for path in table.paths)
        return ids, bool(times_of(table)), tells_goal(table), size

    return max(tables, key=likeness)


def _form(names: set[str], tables: Sequence[Sample]) -> str:
    """Return the form of a folder, as a phrase."""
    if any(name.endswith(".inter") for name in names):
        return "RecBole's typed headers"
    if not all(table.has_header for table in tables):
        return "MovieLens without headers"
    if {"ratings.csv", "movies.csv"} <= names:
        return "MovieLens' ratings.csv"
    return "one flat table" if len(tables) == 1 else f"{len(tables)} tables"


def _head(name: str, ignored: Mapping[str, str]) -> Iterator[str]:
    yield _comment(f"What the data in {name} mean, guessed from the first rows of each file.")
    yield _comment("Each guess has its reason; correct what is wrong, then: widedeep check")
    for file, reason in ignored.items():
        yield _comment(f"Left out: {file}: {reason}.")
    yield "version = 1"
    yield f"name = {_text(name)}"


def _interactions_section(roles: Roles, table: Sample) -> Iterator[str]:
    columns = table.columns
    yield from ("", "[interactions]")
    yield from _files_of(table)
    if roles.user is not None:
        yield _entry("user", _text(roles.user), _ids(columns[roles.user]))
    else:
        yield _comment("No column is named like a user: every row is a new user.")
    yield _entry("item", _text(roles.item), _ids(columns[roles.item]))
    time = columns[roles.time]
    unit = time.time_unit or TimeUnit.SECONDS
    yield _entry("time", _text(roles.time), f"times from 1980 to 2100{_missing(time)}")
    yield _entry("time_unit", _text(unit.value), f"read as {_UNITS[unit]}")
    if all(columns[name].integers for name in (roles.user, roles.item) if name is not None):
        yield _entry("integer_ids", "true", "a row with an id that is no integer is a bad row")
    yield from _label(roles, table)
    if roles.weight is not None:
        yield _entry("weight", _text(roles.weight), f"by its name{_missing(columns[roles.weight])}")
    yield _entry("repeats", _text(roles.repeats), roles.repeats_reason)
    if roles.label is None:
        yield from ("", _comment(f"{roles.label_reason}: negatives are sampled"))
        yield from ("[negatives]", "per_positive = 4")


def _label(roles: Roles, table: Sample) -> Iterator[str]:
    """Yield the label, and the value if there is one."""
    rule = roles.label
    if rule is None:
        return
    entries = [f"column = {_text(rule.column)}"]
    if rule.at_least is not None:
        entries.append(f"at_least = {rule.at_least!r}")
    if rule.equals is not None:
        entries.append(f"equals = {_text(str(rule.equals))}")
    missing = _missing(table.columns[rule.column])
    yield _entry("label", f"{{ {', '.join(entries)} }}", roles.label_reason + missing)
    if roles.value is not None:
        numbers = table.columns[roles.value].numbers
        low, high = (float(limit) for limit in (np.nanmin(numbers), np.nanmax(numbers)))
        value = f"{{ column = {_text(roles.value)}, minimum = {low:g}, maximum = {high:g} }}"
        yield _entry("value", value, "the range of the sample; a row out of it is a bad row")


def _entity_section(roles: Roles, table: Sample, entity: EntityTable) -> Iterator[str]:
    key, column = roles.key(entity.side), entity.sample.columns[entity.key]
    known = np.unique(table.columns[key].keys) if key is not None else np.empty(0, np.int64)
    share = np.isin(known, column.keys).mean()
    repeated = entity.sample.rows - column.distinct
    reason = f"holds {share:.0%} of the {len(known):,} {entity.name} of the interactions"
    reason += f"; {repeated:,} rows repeat an id, of which the first counts" if repeated else ""
    yield from ("", f"[{entity.name}]")
    yield from _files_of(entity.sample)
    yield _entry("id", _text(entity.key), reason + _missing(column))
    for language, title in entity.titles.items():
        name = f"title.{language}" if language else "title"
        yield _entry(name, _text(title), f"by its name{_missing(entity.sample.columns[title])}")


def _files_of(table: Sample) -> Iterator[str]:
    """Yield the entries that say which files a table has, and how they are read."""
    yield f"files = {_list(_globs(table.paths))}"
    if table.separator:
        yield f"separator = {_text(table.separator)}"
    if table.encoding != "utf-8":
        yield _entry("encoding", _text(table.encoding), "by its bytes; see that names are right")
    if not table.has_header:
        names = _list([*table.columns])
        yield _entry("columns", names, "the file has no header; by MovieLens' documentation")


def _globs(paths: Sequence[Path]) -> list[str]:
    """Return the names of files, or one pattern for parts that differ in digits alone."""
    names = [escape(path.name) for path in paths]
    patterns = {re.sub(r"[0-9][0-9._T-]*", "*", path.stem) + path.suffix for path in paths}
    if len(names) == 1 or len(patterns) > 1:
        return names
    pattern = next(iter(patterns))
    matched = {path.name for path in paths[0].parent.glob(pattern)}
    return [pattern] if matched == {path.name for path in paths} else names


def _ids(column: Column) -> str:
    """Return how many ids there are and of what kind, and whether they tell the future."""
    kind = "integers" if column.integers else "text"
    known = np.unique(column.keys)
    if column.integers and len(known) >= _MANY_IDS:
        rank = activity_correlation(known.astype(np.float64), known, column.keys)
        if abs(rank) > _FOLLOWS_ACTIVITY:
            kind += (
                f" in the order of activity (rank correlation {rank:.2f}), which tells the future: "
                "no model reads them as numbers"
            )
    return f"{column.distinct:,} in {len(column.values):,} rows, {kind}{_missing(column)}"


def _feature_sections(guesses: Sequence[Guess]) -> Iterator[str]:
    features = []
    for guess in guesses:
        yield ""
        if isinstance(guess, LeftOut):
            yield _comment(f"Left out: {guess.source}: {guess.reason}.")
        else:
            features.append(guess)
            yield from _feature_section(guess)
    yield from _model_section(features)


def _feature_section(feature: GuessedFeature) -> Iterator[str]:
    yield "[[features]]"
    yield f"name = {_text(feature.name)}"
    yield f"from = {_text(feature.source)}"
    yield _entry("type", _text(feature.type.value), feature.reason)
    for option, value in feature.options.items():
        yield f"{option} = {_literal(value) if option == 'pattern' else _text(value)}"
    if feature.source.startswith("interactions.") and feature.side is not Side.CONTEXT:
        side = feature.side.value
        yield _entry("side", _text(side), f"each {side} has one value in all of its rows")


def _model_section(features: Sequence[GuessedFeature]) -> Iterator[str]:
    """Yield what a model reads by default, without the features that have very many values."""
    discrete = [f for f in features if f.type in (*CATEGORICAL, FeatureType.BAG)]
    of_items = [f for f in discrete if f.side is Side.ITEM]
    small = [f for f in of_items if f.values <= SMALL]
    if not of_items or all(f.values <= SMALL for f in discrete):
        return
    others = [f.name for f in discrete if f.side is not Side.ITEM and f.values <= SMALL]
    numbers = [f for f in features if f.type in NUMERICAL and f.side is not Side.ITEM]
    others += [f"{number.name}_bucket" for number in numbers]
    pairs = [[other, own.name] for own in small for other in others][:_MOST_CROSSES]
    crosses = [["liked", "item"], ["disliked", "item"], *pairs]
    yield from ("", "[model]")
    yield _comment(f"Crosses and each user's residuals take features of at most {SMALL} values.")
    yield f"crosses = {_list(crosses)}"
    yield f"user_residuals = {_list([f.name for f in small])}"
    yield f"residuals = {_list([f.name for f in of_items])}"


def _list(values: Sequence[object]) -> str:
    """Return a TOML array of texts, or of arrays of texts."""
    return json.dumps(values, ensure_ascii=False)


def _entry(name: str, value: str, reason: str) -> str:
    return f"{name} = {value}  {_comment(reason)}"


def _missing(column: Column) -> str:
    return f"; {column.missing:.1%} missing"


def _comment(text: str) -> str:
    """Return a TOML comment on one line."""
    return "# " + "".join(
        character for character in " ".join(text.split()) if character.isprintable()
    )


def _literal(value: str) -> str:
    """Return a TOML string without escapes, for a regular expression without quotes."""
    return f"'{value}'"


def _text(value: str) -> str:
    """Return a TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
