"""Where a run's interactions come from.

`resolve_source` turns a user's `--data` into a folder and the `DatasetSpec` of its files, and
downloads or simulates the data where that is needed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from widedeep.data.dataset import DatasetSpec
from widedeep.data.dataset_file import SPEC_FILE, kmrd_spec, load_spec
from widedeep.data.download import COMMIT, RELEASES, DownloadError, download
from widedeep.data.simulator.config import SimulationConfig
from widedeep.data.simulator.write import MARKER, simulate
from widedeep.inputs import DataSetName, InputError

_VARIABLE = "WIDEDEEP_DATA"

Fetch = Callable[[str, Path], Path]
"""Downloads the named data set into a folder unless it is there already; returns the folder."""


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of data.

    Attributes:
        name: Lower-case letters, digits and dashes; the model is registered as `widedeep-<name>`.
            Simulated data are named `sim` or `sim-…`, real data never.
        folder: Absolute path.
        simulated: Whether the interactions come from the simulator.
        origin: One sentence to show to users: where the data came from, and why from there. It may
            differ between runs on the same data, so it must not be part of a key.
        spec: What the files mean.
    """

    name: str
    folder: Path
    simulated: bool
    origin: str
    spec: DatasetSpec

    @property
    def model(self) -> str:
        """The name under which models of the data set are registered."""
        return f"widedeep-{self.name}"


def simulate_defaults(folder: Path) -> None:
    """Simulate into `folder` with the default settings, which make data as large as KMRD-small."""
    simulate(SimulationConfig(), folder)


def resolve_source(
    data: str,
    cache: Path,
    environ: Mapping[str, str],
    fetch: Fetch = download,
    simulator: Callable[[Path], None] = simulate_defaults,
) -> Source:
    """Return the source that `data` stands for, downloading or simulating it where needed.

    `auto` is the first available of: the folder named by WIDEDEEP_DATA, a KMRD already downloaded
    (small, 2m, 5m), a download of KMRD-small, the simulator.

    Args:
        data: `auto`, `kmrd-small`, `kmrd-2m`, `kmrd-5m`, `sim`, or the path of a folder (write
            `./sim` for a folder that is named like one of these words).
        cache: The folder in which downloads and the simulation are kept.
        environ: The environment variables of the process.
        fetch: Downloads a KMRD.
        simulator: Fills the given folder with simulated data.

    Raises:
        InputError: `data` or WIDEDEEP_DATA is not a folder, or its name has no letter or digit.
        DownloadError: A KMRD named by `data` is neither in the cache nor can it be downloaded.
    """
    cache = cache.resolve()
    if data == "auto":
        return _first_available(cache, environ, fetch, simulator)
    if data == "sim":
        return _simulated(cache, simulator, "asked for by name")
    if data in RELEASES:
        return _kmrd(data, cache, fetch)
    words = ", ".join(DataSetName)
    return _named_folder(data, "--data", f"one of {words}, or a folder of data")


def _first_available(
    cache: Path, environ: Mapping[str, str], fetch: Fetch, simulator: Callable[[Path], None]
) -> Source:
    copy = environ.get(_VARIABLE)
    if copy:
        return _named_folder(copy, _VARIABLE, "a folder of data")
    downloaded = (name for name in RELEASES if (cache / name).exists())
    try:
        return _kmrd(next(downloaded, "kmrd-small"), cache, fetch)
    except DownloadError as error:
        return _simulated(cache, simulator, f"because there is no copy of KMRD and {error}")


def _kmrd(name: str, cache: Path, fetch: Fetch) -> Source:
    how = "already downloaded to" if (cache / name).exists() else "now downloaded to"
    folder = fetch(name, cache / name)
    origin = f"{name} of github.com/lovit/kmrd at commit {COMMIT[:7]}, {how} {folder}"
    return Source(name, folder, simulated=False, origin=origin, spec=kmrd_spec(name))


def _simulated(cache: Path, simulator: Callable[[Path], None], reason: str) -> Source:
    folder = cache / "sim"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".sim.lock"):
        if not (folder / MARKER).exists():
            simulator(folder)
    origin = f"simulated ratings in KMRD's form in {folder}, {reason}"
    return Source("sim", folder, simulated=True, origin=origin, spec=kmrd_spec("sim"))


def _named_folder(text: str, setting: str, expected: str) -> Source:
    folder = _existing_folder(text, setting, expected)
    spec, form = _spec_of(folder)
    slug = re.sub(r"[^a-z0-9]+", "-", spec.name.lower()).strip("-")
    if not slug:
        raise InputError(
            f"{setting} {text!r} is {folder}; expected a folder with a letter a-z or a digit in "
            f"its name, or a name with one in its {SPEC_FILE}"
        )
    simulated = (folder / MARKER).exists()
    kind = "simulated interactions" if simulated else "interactions"
    origin = f"{kind} in {folder}, named by {setting}, {form}"
    return Source(_distinct_name(slug, simulated=simulated), folder, simulated, origin, spec)


def _spec_of(folder: Path) -> tuple[DatasetSpec, str]:
    """Return what a folder's files mean, and how that is known, as a phrase."""
    if (folder / SPEC_FILE).exists():
        return load_spec(folder), f"as its {SPEC_FILE} says"
    # Describing loads more than most commands need.
    from widedeep.data.describe import describe  # noqa: PLC0415

    description = describe(folder)
    return description.spec, f"recognised as {description.form} (widedeep describe writes it down)"


def _existing_folder(text: str, setting: str, expected: str) -> Path:
    try:
        folder = Path(text).expanduser().resolve()
        problem = "is a file" if folder.is_file() else None if folder.is_dir() else "does not exist"
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, …
        raise InputError(f"{setting} {text!r}: {error}; expected {expected}") from error
    if problem or not text.strip():
        raise InputError(f"{setting} {text!r} {problem or 'is empty'}; expected {expected}")
    return folder


def _distinct_name(slug: str, *, simulated: bool) -> str:
    """Return a name that begins with `sim` exactly if the data are simulated."""
    looks_simulated = slug == "sim" or slug.startswith("sim-")
    if simulated == looks_simulated:
        return slug
    return f"sim-{slug}" if simulated else f"data-{slug}"
