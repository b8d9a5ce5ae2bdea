"""Download KMRD, complete and verified or not at all.

KMRD (the Korean Movie Rating Dataset, github.com/lovit/kmrd) carries no licence file, so its data
are never committed to this project: each user downloads them, or names a copy. The files are pinned
by commit, and each is checked against git's own id of its content in that commit before it is used.
"""

import hashlib
import shutil
import socket
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Thread
from types import MappingProxyType
from urllib.request import getproxies

import httpx
from filelock import FileLock

from widedeep.inputs import InputError
from widedeep.store import flush_to_disk

COMMIT = "8ca98b12bbd46a53f8ee89c678e7a0c050e190cf"
_BASE_URL = f"https://raw.githubusercontent.com/lovit/kmrd/{COMMIT}/kmr_dataset/datafile"
_CHUNK = 1 << 20
_TRANSIENT_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which the same request may succeed later."""

Progress = Callable[[str, int, int | None], None]
"""Called with a file's path in the release, the bytes received so far, and their total if known;
the bytes of a compressed answer are counted as they were sent."""


class DownloadError(OSError):
    """A data set could not be downloaded; the message names the file or URL and the cause."""


class TransferError(DownloadError):
    """The network or the server failed, so the same download may succeed later."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a release.

    Attributes:
        path: Its path below the release's base URL.
        blob_id: Git's id of its content, see `git_blob_id`.
        members: For a zip, the files to extract: pairs of a file's name inside (in any sub-folder)
            and its name in the finished folder. Empty for a file that is kept as it is.
    """

    path: str
    blob_id: str
    members: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files that it contributes to the finished folder."""
        return tuple(name for _, name in self.members) or (PurePosixPath(self.path).name,)


@dataclass(frozen=True, slots=True)
class Release:
    """The files that together make one data set, and the URL below which they are."""

    base_url: str
    files: tuple[RemoteFile, ...]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds to wait for a connection, and for each next piece of a response."""

    connect: float = 5.0
    read: float = 30.0


_SMALL = {
    "rates.csv": "44d58a93c4b1d5fb1808066682a7500b37082d89",
    "movies.txt": "6cbb7e6a62cf043905d42fc3ad9d618974b58c80",
    "genres.csv": "650e3eb9b9a440a0ec01ba741235e8ed7fe09040",
    "countries.csv": "edacd4ce6c1010d489d4fcbc3b6fb3d698eaa3e2",
    "castings.csv": "89732f81860dee30e2e00f277dff8cdf3a072835",
    "peoples.txt": "d2c3ebacf2f7da00d0a5c27833df55431e0e0d56",
}
_META = RemoteFile(
    "kmrd/meta.zip",
    "dc31133eef336ca790d57de95acad766e9c4511a",
    tuple((name, name) for name in _SMALL if name != "rates.csv"),
)


def _large(size: str, blob_id: str) -> Release:
    rates = RemoteFile(f"kmrd/rates-{size}.zip", blob_id, ((f"rates-{size}.csv", "rates.csv"),))
    return Release(_BASE_URL, (_META, rates))


RELEASES: Mapping[str, Release] = MappingProxyType(
    {
        "kmrd-small": Release(
            _BASE_URL, tuple(RemoteFile(f"kmrd-small/{name}", id_) for name, id_ in _SMALL.items())
        ),
        "kmrd-2m": _large("2m", "95e0527b785bc9afb17139c68ed3de88576bea3d"),
        "kmrd-5m": _large("5m", "a993f9dc11f34a375134478934e856f85577f292"),
    }
)
TIMEOUTS = Timeouts()


def download(
    name: str,
    target: Path,
    *,
    releases: Mapping[str, Release] = RELEASES,
    timeouts: Timeouts = TIMEOUTS,
    progress: Progress | None = None,
) -> Path:
    """Download the data set `name` into the folder `target`, unless it is there already.

    Everything is fetched into a hidden sibling of `target`, which takes its place by one rename
    when every file is verified. An OS lock beside it, released when its holder dies, makes a second
    process wait for the first instead of downloading too. Retries are left to the caller.

    Args:
        name: A key of `releases`.
        target: The folder to create; its missing parents are created, too.
        releases: What can be downloaded, from where, and with which content.
        timeouts: When to give up.
        progress: Called after each piece received.

    Returns:
        `target`, holding `rates.csv` and the five files that describe the items.

    Raises:
        InputError: `name` is unknown, or `target` exists but is not the complete data set.
        DownloadError: A file could not be fetched, or does not have the expected content.
    """
    release = releases.get(name)
    if release is None:
        raise InputError(f"unknown data set {name!r}; expected one of {', '.join(releases)}")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                _build(target, release, timeouts, progress)
    _check_complete(target, release)
    return target


def git_blob_id(path: Path) -> str:
    """Return git's id of a file's content: SHA-1 over a header with its size, then its bytes."""
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _build(target: Path, release: Release, timeouts: Timeouts, progress: Progress | None) -> None:
    part = target.with_name(f".{target.name}.part")
    if part.exists():  # this process holds the lock, so the one that began it is dead
        shutil.rmtree(part)
    part.mkdir()
    try:
        _probe_connection(f"{release.base_url}/{release.files[0].path}", timeouts)
        with _client(release.base_url, timeouts) as client:
            for file in release.files:
                _fetch(client, f"{release.base_url}/{file.path}", file, part, progress)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _probe_connection(url: str, timeouts: Timeouts) -> None:
    """Raise TransferError soon if there is no network.

    A timeout of httpx covers neither the look-up of the host's name nor the sum over the host's
    addresses, which can take a minute behind a firewall that drops packets.
    """
    address = httpx.URL(url)
    if {address.scheme, "all"} & getproxies().keys():
        return  # a proxy connects then, perhaps to hosts that this machine cannot reach
    port = address.port or (443 if address.scheme == "https" else 80)
    connected: Future[None] = Future()

    def connect() -> None:
        try:
            socket.create_connection((address.host, port), timeouts.connect).close()
            connected.set_result(None)
        except OSError as error:
            connected.set_exception(error)

    Thread(target=connect, daemon=True).start()
    seconds = 2 * timeouts.connect
    try:
        connected.result(seconds)
    except OSError as error:
        cause = error.strerror or str(error) or f"no connection within {seconds:g} s"
        raise _failure(url, cause, TransferError) from error


def _client(url: str, timeouts: Timeouts) -> httpx.Client:
    try:
        timeout = httpx.Timeout(timeouts.read, connect=timeouts.connect)
        return httpx.Client(headers={"User-Agent": "widedeep"}, timeout=timeout)
    except (ImportError, OSError, ValueError) as error:  # proxy or certificate settings
        raise _failure(url, str(error)) from error


def _fetch(
    client: httpx.Client, url: str, file: RemoteFile, folder: Path, progress: Progress | None
) -> None:
    """Put `file`, or the members of it that are needed, into `folder`, verified."""
    fetched = folder / PurePosixPath(file.path).name
    try:
        with client.stream("GET", url) as response:
            if not response.is_success:
                kind = TransferError if response.status_code in _TRANSIENT_STATUS else DownloadError
                cause = f"HTTP {response.status_code} {response.reason_phrase}"
                raise _failure(url, cause, kind)
            _save(_pieces(response, file.path, progress), fetched)
    except httpx.HTTPError as error:
        raise _failure(url, str(error) or type(error).__name__, TransferError) from error
    blob_id = git_blob_id(fetched)
    if blob_id != file.blob_id:
        raise DownloadError(f"{url}: the content has git id {blob_id}, expected {file.blob_id}")
    if file.members:
        _unpack(fetched, file.members)
        fetched.unlink()


def _failure(url: str, cause: str, kind: type[DownloadError] = DownloadError) -> DownloadError:
    return kind(f"{url} could not be downloaded: {cause}")


def _pieces(response: httpx.Response, path: str, progress: Progress | None) -> Iterator[bytes]:
    length = response.headers.get("Content-Length")
    total = None if length is None else int(length)
    for piece in response.iter_bytes():
        yield piece
        if progress is not None:
            progress(path, response.num_bytes_downloaded, total)


def _unpack(archive: Path, members: Iterable[tuple[str, str]]) -> None:
    try:
        with zipfile.ZipFile(archive) as bundle:
            for inside, name in members:
                with bundle.open(_member(bundle, inside, archive.name)) as source:
                    _save(iter(lambda: source.read(_CHUNK), b""), archive.with_name(name))
    except (zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: encrypted or unknown method
        raise DownloadError(f"{archive.name} could not be unpacked: {error}") from error


def _member(bundle: zipfile.ZipFile, name: str, archive: str) -> zipfile.ZipInfo:
    files = [entry for entry in bundle.infolist() if not entry.is_dir()]
    matches = [entry for entry in files if PurePosixPath(entry.filename).name == name]
    if len(matches) != 1:
        listing = ", ".join(entry.filename for entry in files) or "nothing"
        raise DownloadError(
            f"{archive}: found {len(matches)} files named {name}, expected 1; it holds {listing}"
        )
    return matches[0]


def _save(pieces: Iterable[bytes], path: Path) -> None:
    with path.open("xb") as file:
        file.writelines(pieces)
    flush_to_disk(path)


def _check_complete(target: Path, release: Release) -> None:
    names = [name for file in release.files for name in file.names]
    missing = [name for name in names if not (target / name).is_file()]
    if missing:
        raise InputError(
            f"{target}: {', '.join(missing)} missing; remove the folder to download it again"
        )
