"""Check a folder of data before it is learned from: named checks with counts and examples.

`check` reads all rows, as ingest does, and writes nothing. `check_folder` first finds out what the
data mean.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from widedeep.data.checks.features import check_features as check_feature_columns
from widedeep.data.checks.interactions import check_interactions, check_split, check_tables
from widedeep.data.checks.result import EXAMPLES, CheckResult, Status, render
from widedeep.data.checks.rows import CheckedRows
from widedeep.data.dataset import DatasetSpec
from widedeep.data.dataset_file import SPEC_FILE, load_spec
from widedeep.data.describe import describe
from widedeep.inputs import InputError

__all__ = ["EXAMPLES", "CheckReport", "CheckResult", "Status", "check", "check_folder", "render"]

FeatureCheck = Callable[[DatasetSpec], tuple[str, int]]
"""Returns a sentence on the features that a model reads of a data set, and their number."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The checks of one folder, and how it is known what the data mean."""

    folder: Path
    form: str
    results: tuple[CheckResult, ...]

    @property
    def failed(self) -> list[str]:
        """The names of the checks that failed."""
        return [result.name for result in self.results if result.status is Status.FAIL]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `widedeep check --json` prints."""
        checks = [asdict(result) for result in self.results]
        return {
            "folder": str(self.folder),
            "form": self.form,
            "failed": self.failed,
            "checks": checks,
        }

    def refuse_failures(self) -> None:
        """Raise InputError if a check failed."""
        if self.failed:
            raise InputError(
                f"{len(self.failed)} checks failed: {', '.join(self.failed)}; correct the data or "
                f"{self.folder / SPEC_FILE}"
            )


def check_folder(folder: Path, now: int, check_features: FeatureCheck) -> CheckReport:
    """Check the data in a folder by its `dataset.toml`, or else by what describing it says.

    Args:
        folder: The data.
        now: UNIX seconds; later interactions are in the future.
        check_features: Returns how many features a model reads of the data, and says what they are;
            raises InputError if they cannot be made.

    Raises:
        InputError: The file contradicts itself, or the folder cannot be described.
    """
    if (folder / SPEC_FILE).exists():
        spec, form = load_spec(folder), f"its {SPEC_FILE}"
    else:
        description = describe(folder)
        spec, form = description.spec, f"recognised as {description.form}"
    try:
        features = CheckResult("features", Status.PASS, *check_features(spec))
    except InputError as error:
        features = CheckResult("features", Status.FAIL, str(error), 1)
    return CheckReport(folder.resolve(), form, (features, *check(folder, spec, now)))


def check(folder: Path, spec: DatasetSpec, now: int) -> list[CheckResult]:
    """Check the data in a folder against what its spec says.

    Args:
        folder: The data.
        spec: What they mean.
        now: UNIX seconds; later interactions are in the future.

    Returns:
        The outcome of each check; after a file that cannot be read there are no others.
    """
    try:
        data = CheckedRows.read(folder, spec, now)
    except InputError as error:
        return [CheckResult("files", Status.FAIL, str(error), 1)]
    count = len(data.files) + sum(map(len, data.names.values()))
    files = CheckResult("files", Status.PASS, f"{count} files, with all columns", count)
    results = [files, _unused(data), *check_tables(data), *check_interactions(data)]
    if len(data.good):
        results += [*check_feature_columns(data), check_split(data)]
    return results


def _unused(data: CheckedRows) -> CheckResult:
    """Name the columns that no entry of the spec reads, which is no mistake."""
    count = len(data.unused)
    names = f": {', '.join(data.unused)}" if count else ""
    return CheckResult("unused columns", Status.PASS, f"{count} columns are not read{names}", count)
