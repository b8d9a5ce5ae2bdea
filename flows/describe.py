"""From a folder of strange data to one that can be learned from: `describe`, then `check`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from flows.console import plain_console
from widedeep import InputError
from widedeep.data.check import CheckResult, Status, check, today
from widedeep.data.dataset import SPEC_FILE, DatasetSpec, load_spec
from widedeep.data.describe import Description, describe
from widedeep.store import atomic_write

_COLOURS = {Status.PASS: "green", Status.WARN: "yellow", Status.FAIL: "red"}


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The checks of one folder, and whether its `dataset.toml` was read or guessed."""

    folder: Path
    form: str
    results: tuple[CheckResult, ...]

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [result.name for result in self.results if result.status is Status.FAIL]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep check --json` prints."""
        return {
            "folder": str(self.folder),
            "form": self.form,
            "failed": self.failed,
            "checks": [result.as_json() for result in self.results],
        }


def write_description(folder: Path, out: Path | None, *, force: bool) -> Path:
    """Describe a folder, write its `dataset.toml`, and return where it is.

    Raises:
        InputError: The folder cannot be described, or the file exists and `force` is not set.
    """
    path = folder / SPEC_FILE if out is None else out
    if path.exists() and not force:
        raise InputError(f"{path} exists already; --force writes it anew, --out elsewhere")
    if not path.parent.is_dir():
        raise InputError(f"--out is {path}; there is no folder {path.parent}")
    description = describe(folder)
    with atomic_write(path) as draft:
        draft.write_text(description.text, encoding="utf-8")
    _show(description, path)
    return path


def _show(description: Description, path: Path) -> None:
    console, spec = plain_console(), description.spec
    left_out = description.text.count("# Left out:")
    console.print(f"recognised  {description.form}")
    console.print(f"label       {escape(spec.label)}")
    features = ", ".join(f"{f.name} ({f.type.value} of the {f.side.value})" for f in spec.features)
    console.print(f"features    {escape(features) or 'none'}")
    console.print(f"left out    {left_out} columns, each with its reason in the file")
    console.print(f"written     {path}")
    console.print(f"look next   read it, correct it, then: widedeep check {path.parent}")


def check_folder(folder: Path) -> CheckReport:
    """Check the data in a folder by its `dataset.toml`, or else by what describing it says.

    Raises:
        InputError: The file contradicts itself, or the folder cannot be described.
    """
    if (folder / SPEC_FILE).exists():
        spec, form = load_spec(folder), f"its {SPEC_FILE}"
    else:
        description = describe(folder)
        spec, form = description.spec, f"recognised as {description.form}"
    results = (_check_model(spec), *check(folder, spec, today()))
    return CheckReport(folder.resolve(), form, results)


def _check_model(spec: DatasetSpec) -> CheckResult:
    """Check that a model's features can be made of the data's, crosses included."""
    from widedeep.model.presets import features_of  # noqa: PLC0415  it loads torch

    try:
        features = features_of(spec)
    except InputError as error:
        return CheckResult("features", Status.FAIL, str(error), 1)
    crosses = ", ".join(cross.name for cross in features.crosses[:3])
    count = len(features.categories) + len(features.bags) + len(features.numbers)
    message = f"{count} features and {len(features.crosses)} crosses, such as {crosses}"
    return CheckResult("features", Status.PASS, message, count)


def show_check(report: CheckReport) -> None:
    """Print a line for each check, with examples of what is wrong."""
    console = plain_console()
    console.print(f"{report.folder}, by {report.form}\n")
    width = max(len(result.name) for result in report.results)
    for result in report.results:
        colour = _COLOURS[result.status]
        status = f"[{colour}]{result.status.value}[/{colour}]"
        console.print(f"{status}  {result.name:<{width}}  {escape(result.message)}")
        if result.status is not Status.PASS:
            for example in result.examples:
                console.print(f"      {'':<{width}}  {escape(example)}")


def refuse_failures(report: CheckReport) -> None:
    """Raise InputError if a check failed."""
    if report.failed:
        raise InputError(
            f"{len(report.failed)} checks failed: {', '.join(report.failed)}; correct the data or "
            f"{report.folder / SPEC_FILE}"
        )
