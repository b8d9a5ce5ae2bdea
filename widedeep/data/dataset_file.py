"""Read `dataset.toml`: `load_spec` a folder's file, `parse_spec` its text.

Every mistake in it is one `InputError` that names the entry, and suggests a name where one was
misspelt.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from widedeep.data.dataset import VERSION, DatasetSpec, Feature, ModelSection, Negatives
from widedeep.data.dataset_tables import (
    AttributesTable,
    ExtraTable,
    InteractionsTable,
    LabelRule,
    TitleColumn,
    ValueColumn,
)
from widedeep.inputs import InputError, close_name

SPEC_FILE = "dataset.toml"
"""Name of the file in a data folder."""


KMRD_SPEC = Path(__file__).with_name("kmrd.toml")
"""The spec of KMRD, for a folder in KMRD's form."""


def load_spec(folder: Path) -> DatasetSpec:
    """Read `dataset.toml` in `folder`; the name is the folder's unless the file gives one.

    Raises:
        InputError: The file is absent, not TOML, of another version, or contradicts itself.
    """
    path = folder / SPEC_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} has no {SPEC_FILE}; write one with: widedeep describe {folder}"
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {error}; save the file as UTF-8") from error
    return parse_spec(text, folder.name, str(path))


def kmrd_spec(name: str) -> DatasetSpec:
    """Return the spec of a folder in KMRD's form."""
    return parse_spec(KMRD_SPEC.read_text(encoding="utf-8"), name, str(KMRD_SPEC))


def parse_spec(text: str, name: str, origin: str = SPEC_FILE) -> DatasetSpec:
    """Read the text of a `dataset.toml`.

    Args:
        text: TOML.
        name: Of the data set, unless the text gives one.
        origin: The file, for messages.

    Raises:
        InputError: The text is not TOML, of another version, or contradicts itself.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin} is not valid TOML: {error}") from error
    version = values.get("version", VERSION)
    if version != VERSION:
        raise InputError(
            f"{origin} has version {version!r}; this widedeep reads version {VERSION}: write the "
            "file anew with: widedeep describe, or install the widedeep that it was written for"
        )
    if "interactions" not in values:
        names = ", ".join(values) or "nothing"
        raise InputError(f"{origin} has no [interactions] table; found {names}")
    _refuse_missing_time(values["interactions"], origin)
    try:
        return DatasetSpec.from_json(_in_full({"name": name, **values}))
    except ValidationError as error:
        raise InputError(f"{origin}: {_first_problem(error)}") from error
    except InputError as error:
        raise InputError(f"{origin}: {error}") from error


def _refuse_missing_time(table: Any, origin: str) -> None:  # noqa: ANN401  not checked yet
    if isinstance(table, Mapping) and "time" not in table and "item" in table:
        known = {entry.name for entry in fields(InteractionsTable)}
        hint = close_name("time", [key for key in table if key not in known])
        raise InputError(
            f"{origin}: [interactions] names no time column{hint}; retraining needs time: "
            "what a model may know of an interaction, and what it is tested on, follow from when "
            'it happened. Add time = "column"'
        )


def _in_full(values: Mapping[str, Any]) -> dict[str, Any]:
    """Write out the short forms: text for a column, `from` for `source`, a default side."""
    full = dict(values)
    interactions = dict(full["interactions"])
    if isinstance(interactions.get("value"), str):
        interactions["value"] = {"column": interactions["value"]}
    if isinstance(interactions.get("label"), str):
        interactions["label"] = {"column": interactions["label"]}
    full["interactions"] = interactions
    for name in ("items", "users"):
        if isinstance(full.get(name), Mapping):
            full[name] = _full_titles(full[name])
    tables = full.get("tables")
    if isinstance(tables, Mapping):
        full["tables"] = {name: _full_titles(table) for name, table in tables.items()}
    if isinstance(full.get("features"), Sequence):
        extra = tables if isinstance(tables, Mapping) else {}
        full["features"] = [_full_feature(feature, extra) for feature in full["features"]]
    return full


def _full_titles(table: Any) -> Any:  # noqa: ANN401  not checked yet
    if not isinstance(table, Mapping):
        return table
    full = dict(table)
    title = full.get("title")
    if isinstance(title, str):
        title = {"": title}
    if isinstance(title, Mapping):
        full["title"] = {
            language: {"column": column} if isinstance(column, str) else column
            for language, column in title.items()
        }
    return full


def _full_feature(feature: Any, tables: Mapping[str, Any]) -> Any:  # noqa: ANN401  likewise
    if not isinstance(feature, Mapping):
        return feature
    full = dict(feature)
    if "from" in full:
        full["source"] = full.pop("from")
    sides = {"items": "item", "users": "user"}
    table = str(full.get("source", "")).partition(".")[0]
    extra = tables.get(table)
    if isinstance(extra, Mapping):
        table = extra.get("of", table)
    return {"side": sides.get(table, "context"), **full}


def _first_problem(error: ValidationError) -> str:
    """Return the first problem as one sentence."""
    problem = error.errors()[0]
    path = [str(part) for part in problem["loc"]]
    where = ".".join(["from" if part == "source" else part for part in path])
    match problem["type"]:
        case "unexpected_keyword_argument":
            known = _known_keys(path[:-1])
            return f"unknown entry {where!r}{close_name(path[-1], known)} (known: {known})"
        case "missing":
            return f"{where!r} is missing"
        case "value_error" | "assertion_error":
            return str(problem.get("ctx", {}).get("error", problem["msg"]))
        case "enum" | "literal_error":
            expected = problem["ctx"]["expected"]
            value = str(problem["input"])
            hint = close_name(value, expected.replace("'", "").replace(" or ", ", ").split(", "))
            return f"{where!r} is {value!r}{hint} (expected {expected})"
        case _:
            return f"{where!r} is {problem['input']!r}: {problem['msg'].lower()}"


def _known_keys(path: Sequence[str]) -> list[str]:
    """Return the entries that the table at `path` may have."""
    kinds: dict[str, Any] = {
        "interactions": InteractionsTable,
        "items": AttributesTable,
        "users": AttributesTable,
        "tables": ExtraTable,
        "features": Feature,
        "model": ModelSection,
        "negatives": Negatives,
        "label": LabelRule,
        "value": ValueColumn,
        "title": TitleColumn,
    }
    names = [part for part in path if part in kinds]
    kind = kinds[names[-1]] if names else DatasetSpec
    return ["from" if f.name == "source" else f.name for f in fields(kind)]
