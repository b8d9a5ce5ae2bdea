"""Where a run's ratings come from: what a user's `--data` stands for."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from widedeep.data.download import COMMIT, RELEASES, DownloadError, download
from widedeep.data.simulator.write import MARKER, SimulationConfig, simulate
from widedeep.inputs import InputError

WORDS = ("auto", *RELEASES, "sim")
VARIABLE = "WIDEDEEP_DATA"

Fetch = Callable[[str, Path], Path]


@dataclass(frozen=True, slots=True)
class Source:
    """A folder of files in KMRD's form.

    Attributes:
        name: Lower-case letters, digits and dashes; the model is registered as `widedeep-<name>`.
            Simulated data are named `sim` or `sim-…`, real data never.
        folder: Absolute path.
        simulated: Whether the ratings come from the simulator.
        origin: One sentence for people: where the data came from, and why from there. It may
            differ between runs on the same data, so nothing is to be keyed by it.
    """

    name: str
    folder: Path
    simulated: bool
    origin: str

    @property
    def model(self) -> str:
        """The name that models of the data set are registered under."""
        return f"widedeep-{self.name}"


def simulate_defaults(folder: Path) -> None:
    """Fill `folder` by the built-in simulator with its default settings, as large as KMRD-small."""
    simulate(SimulationConfig(), folder)


def resolve(
    data: str,
    cache: Path,
    environ: Mapping[str, str],
    fetch: Fetch = download,
    simulator: Callable[[Path], None] = simulate_defaults,
) -> Source:
    """Turn `--data` into a folder, downloading or simulating it where needed.

    `auto` is the first to be had of: the folder named by WIDEDEEP_DATA, a KMRD already downloaded
    (small, 2m, 5m), a download of KMRD-small, the simulator.

    Args:
        data: `auto`, `kmrd-small`, `kmrd-2m`, `kmrd-5m`, `sim`, or the path of a folder (write
            `./sim` for a folder that is named like one of these words).
        cache: The folder that downloads and the simulation are kept in.
        environ: The process's environment.
        fetch: Has the named KMRD in the given folder, without network if it is there already.
        simulator: Fills the given folder.

    Raises:
        InputError: `data` or WIDEDEEP_DATA is not a folder, or its name has no letter or digit.
        DownloadError: A KMRD asked for by name is neither there nor to be had.
    """
    cache = cache.resolve()
    if data == "auto":
        return _automatic(cache, environ, fetch, simulator)
    if data == "sim":
        return _simulated(cache, simulator, "asked for by name")
    if data in RELEASES:
        return _kmrd(data, cache, fetch)
    return _named_folder(data, "--data", f"one of {', '.join(WORDS)}, or a folder in KMRD's form")


def _automatic(
    cache: Path, environ: Mapping[str, str], fetch: Fetch, simulator: Callable[[Path], None]
) -> Source:
    copy = environ.get(VARIABLE)
    if copy:
        return _named_folder(copy, VARIABLE, "a folder in KMRD's form")
    downloaded = (name for name in RELEASES if (cache / name).exists())
    try:
        return _kmrd(next(downloaded, "kmrd-small"), cache, fetch)
    except DownloadError as error:
        return _simulated(cache, simulator, f"because there is no copy of KMRD and {error}")


def _kmrd(name: str, cache: Path, fetch: Fetch) -> Source:
    how = "already downloaded to" if (cache / name).exists() else "now downloaded to"
    folder = fetch(name, cache / name)
    origin = f"{name} of github.com/lovit/kmrd at commit {COMMIT[:7]}, {how} {folder}"
    return Source(name, folder, simulated=False, origin=origin)


def _simulated(cache: Path, simulator: Callable[[Path], None], reason: str) -> Source:
    folder = cache / "sim"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".sim.lock"):
        if not (folder / MARKER).exists():
            simulator(folder)
    origin = f"simulated ratings in KMRD's form in {folder}, {reason}"
    return Source("sim", folder, simulated=True, origin=origin)


def _named_folder(text: str, setting: str, wanted: str) -> Source:
    folder = _existing_folder(text, setting, wanted)
    slug = re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
    if not slug:
        message = f"{setting} {text!r}: {folder} found, a folder named with a-z or 0-9 wanted"
        raise InputError(message)
    simulated = (folder / MARKER).exists()
    kind = "simulated ratings" if simulated else "ratings"
    origin = f"{kind} in KMRD's form in {folder}, named by {setting}"
    return Source(_told_apart(slug, simulated=simulated), folder, simulated, origin)


def _existing_folder(text: str, setting: str, wanted: str) -> Path:
    try:
        folder = Path(text).expanduser().resolve()
        found = "a file" if folder.is_file() else None if folder.is_dir() else "no such folder"
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, an unknown ~user, …
        raise InputError(f"{setting} {text!r}: {error}; {wanted} wanted") from error
    if found or not text.strip():
        raise InputError(f"{setting} {text!r}: {found or 'nothing'} found, {wanted} wanted")
    return folder


def _told_apart(slug: str, *, simulated: bool) -> str:
    taken_for_simulated = slug == "sim" or slug.startswith("sim-")
    if simulated == taken_for_simulated:
        return slug
    return f"sim-{slug}" if simulated else f"data-{slug}"
