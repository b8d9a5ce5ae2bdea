"""Why a registered model scores one user and movie as it does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich import box
from rich.markup import escape
from rich.table import Table

from flows.console import plain_console
from flows.registered import Registered
from widedeep.evaluation.explainer import Explainer
from widedeep.evaluation.explanation import Explanation
from widedeep.evaluation.names import Language
from widedeep.features.history import Queries
from widedeep.when import iso


@dataclass(frozen=True, slots=True)
class Explained:
    """An explanation, whose it is, and what the movie is called."""

    registered: Registered
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


def explain(registered: Registered, user: int, movie: int, at: int | None) -> Explained:
    """Explain as the model is served: by the ratings it was registered with, before `at`.

    `at` is in UNIX seconds; None stands for the moment after the last of these ratings.
    """
    path = registered.version.served.path
    explainer = Explainer.load(path, path.with_name("history"))
    known = explainer.known_until
    time = known if at is None else at
    asked = Queries(*(np.array([value]) for value in (user, movie, time, min(time, known))))
    korean, english = (explainer.names.movie(movie, language) for language in Language)
    return Explained(registered, korean, english, explainer.explain(asked)[0])


def show(found: Explained) -> None:
    """Print it for people: what moves the logit, the heaviest first."""
    console, one = plain_console(), found.explanation
    console.print(f"\n[bold]{found.registered.title}[/bold]")
    console.print(f"user {one.user}, movie {one.movie}: {_both(found.korean, found.english)}")
    console.print(f"at {iso(one.time)}, knowing the ratings before {iso(one.known_until)}")
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
