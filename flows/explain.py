"""What a registered model knows: why it scores a pair as it does, and what its wide part remembers.

`explain_pair` takes the score of one user and item apart. The memorisation report was written when
the model was trained and is read from its run. Neither needs Prefect, and only an explanation needs
the model itself, so torch is imported there.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.table import Table

from flows.console import plain_console
from tasks.registry import RegisteredModel
from widedeep import InputError
from widedeep.data.ids import id_key
from widedeep.evaluation import MEMORISATION_REPORT, MEMORISATION_TABLE
from widedeep.inputs import Moment, to_iso

if TYPE_CHECKING:
    from widedeep.evaluation.explain import Explanation


@dataclass(frozen=True, slots=True)
class ExplainReport:
    """The explanation of one score by a registered model, and the item's titles.

    `label` says when an interaction is positive, which is what the probability is one of.
    """

    registered: RegisteredModel
    korean: str
    english: str
    label: str
    explanation: "Explanation"

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep explain --json` prints."""
        return {
            "model": self.registered.model,
            "version": self.registered.version.number,
            "korean": self.korean,
            "english": self.english,
            "label": self.label,
            **self.explanation.as_json(),
        }


def explain_pair(
    registered: RegisteredModel,
    user: str,
    item: str,
    at: Moment | None = None,
    features: Sequence[str] = (),
) -> ExplainReport:
    """Explain the score of `user` and `item`, ids as in the data, as MLflow serves the model.

    Only the interactions that the model was registered with are known, and of those only the ones
    before `at`. If `at` is None, it is the moment after the last of them. `features` are what a
    request would say of the context and the user, as `device=mobile`.
    """
    import numpy as np

    from widedeep import Explainer
    from widedeep.evaluation.naming import Language
    from widedeep.features import Queries
    from widedeep.features.request import RequestFeatures, given_context, with_given_user

    path = registered.version.served.path
    explainer = Explainer.load(path, path.with_name("history")).knowing(user, item)
    time = explainer.known_until if at is None else at
    known_until = min(time, explainer.known_until)
    keys = id_key(user), id_key(item)
    given = RequestFeatures.from_texts(features, explainer.tables)
    user_key, item_key, at_, known = (np.array([v]) for v in (*keys, time, known_until))
    context = given_context(given, explainer.tables, 1)
    query = Queries(user_key, item_key, at_, known, context)
    tables = with_given_user(explainer.tables, keys[0], given)
    korean, english = (explainer.names.item(keys[1], language) for language in Language)
    explanation, label = explainer.explain(query, tables)[0], explainer.model.transform.spec.label
    return ExplainReport(registered, korean, english, label, explanation)


def show_explanation(report: ExplainReport) -> None:
    """Print what adds up to the logit, the heaviest wide features first."""
    console, explanation = plain_console(), report.explanation
    titles = _both(report.korean, report.english)
    time, known_until = to_iso(explanation.time), to_iso(explanation.known_until)
    console.print(f"\n[bold]{report.registered.title}[/bold]")
    console.print(f"user {explanation.user}, item {explanation.item}: {titles}")
    console.print(f"at {time}, knowing the interactions before {known_until}")
    console.print(_contributions(explanation, report.label))
    silent = sum(fired.weight == 0 for fired in explanation.wide)
    if silent:
        console.print(f"{silent} more wide features fired; their weight is 0")


def show_memorisation(registered: RegisteredModel) -> None:
    """Print the report: laid out on a terminal, as Markdown elsewhere."""
    text = _run_file(registered, MEMORISATION_REPORT).read_text(encoding="utf-8")
    if sys.stdout.isatty():
        Console(highlight=False).print(Markdown(text))
    else:
        sys.stdout.write(text)


def write_memorisation(registered: RegisteredModel) -> None:
    """Print the table to stdout, one JSON object for each wide feature.

    Its columns are `widedeep.evaluation.memorisation.COLUMNS`.
    """
    import pandas as pd

    features = pd.read_parquet(_run_file(registered, MEMORISATION_TABLE))
    features.to_json(
        sys.stdout, orient="records", lines=True, force_ascii=False, double_precision=15
    )


def _contributions(explanation: "Explanation", label: str) -> Table:
    table = Table(box=box.SIMPLE, show_footer=True)
    table.add_column("adds", f"{explanation.logit:+.4f}", justify="right")
    table.add_column("part", "logit")
    table.add_column(
        "", escape(f"probability {explanation.probability:.4f} of a positive label ({label})")
    )
    table.add_row(f"{explanation.bias:+.4f}", "bias", "")
    if explanation.prior_logit:
        table.add_row(
            f"{explanation.prior_logit:+.4f}", "prior logit", "the online model's expectation"
        )
    table.add_row(f"{explanation.deep:+.4f}", "deep", "")
    for fired in explanation.wide:
        if fired.weight:
            table.add_row(f"{fired.weight:+.4f}", "wide", _both(fired.korean, fired.english))
    return table


def _both(korean: str, english: str) -> str:
    """Return both texts, or one if they are equal, with brackets that rich does not interpret."""
    return escape(korean if korean == english else f"{korean} | {english}")


def _run_file(registered: RegisteredModel, name: str) -> Path:
    """Return a file that the run of a version kept; raise InputError if there is none."""
    path = registered.store.run_file(registered.model, registered.version, name)
    if path is None:
        raise InputError(
            f"{registered.title} has no {name}: it was made by another version of widedeep, or its "
            "run was deleted; retrain to get one"
        )
    return path
