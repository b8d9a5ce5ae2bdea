"""The outcome of a named check, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

EXAMPLES = 10
"""Examples that a check shows at most."""


class Status(StrEnum):
    """How a check ended; only a failed one stops a retrain."""

    PASS = "PASS"  # noqa: S105  no password
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome of one named check.

    Attributes:
        name: Of the check.
        status: PASS, WARN or FAIL.
        message: What was found, in one sentence.
        count: How many rows, ids or columns it is about.
        examples: Up to `EXAMPLES` of them, as text.
    """

    name: str
    status: Status
    message: str
    count: int = 0
    examples: tuple[str, ...] = ()


def render(results: Sequence[CheckResult]) -> list[str]:
    """Return a line of text for each check, and one for each example of what is wrong."""
    width = max((len(result.name) for result in results), default=0)
    lines = []
    for result in results:
        lines.append(f"{result.status.value}  {result.name:<{width}}  {result.message}")
        examples = result.examples if result.status is not Status.PASS else ()
        lines += [f"      {'':<{width}}  {example}" for example in examples]
    return lines
