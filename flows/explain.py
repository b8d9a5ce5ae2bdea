"""Why a registered model scores one user and item as it does.

What a registered model's wide part remembers, as its own run reported it.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from flows.champion import RegisteredModel
from flows.console import plain_console
from widedeep.evaluation.explain import Explainer, Explanation
from widedeep.evaluation.memorisation import REPORT, TABLE
from widedeep.evaluation.naming import Language
from widedeep.features.history import Queries
from widedeep.inputs import InputError, to_iso


@dataclass(frozen=True, slots=True)
class ExplainReport:
    """An explanation, whose it is, and what the item is called."""

    registered: RegisteredModel
    korean: str
    english: str
    explanation: Explanation

    def as_json(self) -> dict[str, Any]:
        """The object that `widedeep explain --json` prints."""
        return {
            "model": self.registered.model,
            "version": self.registered.version.number,
            "korean": self.korean,
            "english": self.english,
            **self.explanation.as_json(),
        }


def explain(registered: RegisteredModel, user: int, item: int, at: int | None) -> ExplainReport:
    """Explain as the model is served: by the ratings it was registered with, before `at`.

    `at` is in UNIX seconds; None stands for the moment after the last of these ratings.
    """
    path = registered.version.served.path
    explainer = Explainer.load(path, path.with_name("history"))
    known = explainer.known_until
    time = known if at is None else at
    asked = Queries(*(np.array([value]) for value in (user, item, time, min(time, known))))
    korean, english = (explainer.names.item(item, language) for language in Language)
    return ExplainReport(registered, korean, english, explainer.explain(asked)[0])


def show_explanation(found: ExplainReport) -> None:
    """Print it for people: what moves the logit, the heaviest first."""
    console, one = plain_console(), found.explanation
    console.print(f"\n[bold]{found.registered.title}[/bold]")
    console.print(f"user {one.user}, movie {one.item}: {_both(found.korean, found.english)}")
    console.print(f"at {to_iso(one.time)}, knowing the ratings before {to_iso(one.known_until)}")
    console.print(_table(one))
    silent = sum(fired.weight == 0 for fired in one.wide)
    if silent:
        console.print(f"{silent} more wide features fired; their weight is 0")


def _table(one: Explanation) -> Table:
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("adds", f"{one.logit:+.4f}", justify="right")
    table.add_column("part", "logit")
    table.add_column("", f"probability {one.probability:.4f}")
    table.add_row(f"{one.bias:+.4f}", "bias", "")
    if one.offset:
        table.add_row(f"{one.offset:+.4f}", "offset", "the online model's expectation")
    table.add_row(f"{one.deep:+.4f}", "deep", "")
    for fired in one.wide:
        if fired.weight:
            table.add_row(f"{fired.weight:+.4f}", "wide", _both(fired.korean, fired.english))
    return table


def _both(korean: str, english: str) -> str:
    """One or both, with brackets left as they are."""
    return escape(korean if korean == english else f"{korean} | {english}")


def show_memorisation(registered: RegisteredModel) -> None:
    """Print the report for people: laid out on a terminal, as Markdown elsewhere."""
    text = _file(registered, REPORT).read_text(encoding="utf-8")
    if sys.stdout.isatty():
        Console(highlight=False).print(Markdown(text))
    else:
        sys.stdout.write(text)


def write_memorisation(registered: RegisteredModel) -> None:
    """Print the table to stdout, one JSON object a wide feature, see `memory_table.COLUMNS`."""
    features = pd.read_parquet(_file(registered, TABLE))
    features.to_json(
        sys.stdout, orient="records", lines=True, force_ascii=False, double_precision=15
    )


def _file(registered: RegisteredModel, name: str) -> Path:
    found = registered.tracker.file(registered.model, registered.version, name)
    if found is None:
        raise InputError(
            f"{registered.title} has no {name}; it was made by another version of widedeep, or its "
            "run is gone: retrain to have one"
        )
    return found
