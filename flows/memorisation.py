"""What a registered model's wide part remembers, as its own run reported it."""

import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markdown import Markdown

from flows.registered import Registered
from widedeep.errors import InputError
from widedeep.evaluation.memorisation import REPORT, TABLE


def show(registered: Registered) -> None:
    """Print the report for people: laid out on a terminal, as Markdown elsewhere."""
    text = _file(registered, REPORT).read_text(encoding="utf-8")
    if sys.stdout.isatty():
        Console(highlight=False).print(Markdown(text))
    else:
        sys.stdout.write(text)


def write_json(registered: Registered) -> None:
    """Print the table to stdout, one JSON object a wide feature, see `memory_table.COLUMNS`."""
    features = pd.read_parquet(_file(registered, TABLE))
    features.to_json(
        sys.stdout, orient="records", lines=True, force_ascii=False, double_precision=15
    )


def _file(registered: Registered, name: str) -> Path:
    found = registered.tracker.file(registered.model, registered.version, name)
    if found is None:
        raise InputError(
            f"{registered.title} has no {name}; it was made by another version of widedeep, or its "
            "run is gone: retrain to have one"
        )
    return found
