"""Write-once directories with a manifest, which finished stages leave behind, and atomic files.

The id of an artefact is a digest of everything it was made from (inputs, settings, code). The same
work therefore has the same id and is found instead of being repeated: that is how a run resumes
after a crash. An artefact is filled in a draft folder and appears under its id by one rename,
complete or not at all:

    artifact = ArtifactStore(root).get_or_build("features", key, build)

`code_version` is the part of a key that stands for the library's source.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

MANIFEST = "manifest.json"
_DRAFTS = "drafts"
_ID_LENGTH = 16
_BLOCK = 1 << 20

_WINGS = (
    ("data",),
    ("features", "out_of_core"),
    ("model",),
    ("evaluation",),
    ("studies",),
    ("retrieval",),
    ("serving",),
)
"""The library's wings from the lowest to the highest; a wing imports only those before it.

Features are computed in memory or out of core with the same result, so these two are one level.
"""

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished directory at `path`, made from `key`.

    Attributes:
        kind: The stage that made it, e.g. "features"; also the name of the folder above it.
        id: `content_id` of the key; the directory's name.
        path: The directory.
        key: Everything the artefact was made from, as JSON values.
        summary: What the stage reported about the artefact, as JSON values.
    """

    kind: str
    id: str
    path: Path
    key: Json
    summary: Json

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the manifest in `path`; raises OSError if a file is missing or has another size."""
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, expected in manifest["files"].items():
            size = (path / name).stat().st_size
            if size != expected:
                message = f"{path / name} has {size} bytes, expected {expected}; delete {path}"
                raise OSError(message)
        return cls(manifest["kind"], manifest["id"], path, manifest["key"], manifest["summary"])


class ArtifactStore:
    """All artefacts below one folder, as `<root>/<kind>/<id>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, key: Json) -> Artifact | None:
        """Return the finished artefact made from `key`, or None."""
        return self.find_by_id(kind, content_id(key))

    def find_by_id(self, kind: str, identity: str) -> Artifact | None:
        """Return the finished artefact with that id, or None."""
        path = self.root / kind / identity
        return Artifact.load(path) if path.exists() else None

    def get_or_build(self, kind: str, key: Json, build: Callable[[Path], Json]) -> Artifact:
        """Return the artefact made from `key`; if there is none, build it.

        `build` is called with an empty folder to fill and returns the summary.
        """
        artifact = self.find(kind, key)
        if artifact is not None:
            return artifact
        with self.draft(kind) as draft:
            return draft.finish(key, build(draft.path))

    @contextmanager
    def draft(self, kind: str) -> Iterator["Draft"]:
        """Yield an empty folder to fill; it is removed at the end unless it was finished."""
        path = self.root / _DRAFTS / f"{kind}-{uuid.uuid4().hex}"
        path.mkdir(parents=True)
        try:
            yield Draft(kind, path, self.root)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def remove_drafts(self) -> None:
        """Remove what killed runs left unfinished; the caller must hold the workspace's lock."""
        shutil.rmtree(self.root / _DRAFTS, ignore_errors=True)


class Draft:
    """The folder `path` that a stage is filling; `finish` makes it an artefact."""

    def __init__(self, kind: str, path: Path, root: Path) -> None:
        self.path = path
        self._kind = kind
        self._root = root

    def finish(self, key: Json, summary: Json) -> Artifact:
        """Write the manifest last, flush everything to the disk, and rename into place.

        If another process finished the same key first, its artefact is returned.
        """
        identity = content_id(key)
        files = {
            str(file.relative_to(self.path)): file.stat().st_size
            for file in sorted(self.path.rglob("*"))
            if file.is_file()
        }
        manifest = {
            "kind": self._kind,
            "id": identity,
            "key": key,
            "summary": summary,
            "files": files,
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False, sort_keys=True)
        (self.path / MANIFEST).write_text(text, encoding="utf-8")
        for name in (*files, MANIFEST):
            flush_to_disk(self.path / name)
        final = self._root / self._kind / identity
        final.parent.mkdir(parents=True, exist_ok=True)
        if not final.exists():
            self.path.rename(final)
            flush_to_disk(final.parent)
        return Artifact.load(final)


def content_id(key: Json) -> str:
    """Return a short digest of `key`'s canonical JSON: 16 hexadecimal digits."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def file_digest(path: Path, size: int | None = None) -> str:
    """Return the SHA-256 of a file's first `size` bytes (None: of all), in hexadecimal."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while block := file.read(min(left, _BLOCK)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


@cache
def code_version(wing: str) -> str:
    """Return a digest of the source that the results of `wing` depend on.

    It covers the modules directly in `widedeep/`, the wing and all wings below it. A stage names
    the highest wing it runs, so a change in serving code retrains nothing.
    """
    level = next(number for number, wings in enumerate(_WINGS) if wing in wings)
    package = Path(__file__).parent
    files = [*package.glob("*.py")]
    for name in (name for wings in _WINGS[: level + 1] for name in wings):
        files += (package / name).rglob("*.py")
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:_ID_LENGTH]


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a draft beside `path` that replaces it if the block succeeds, and else is removed."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        flush_to_disk(draft)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def flush_to_disk(path: Path) -> None:
    """Return when the content of a file, or the names in a folder, will survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class StoredModel:
    """A model among the artefacts: its id there and the folder of its files."""

    id: str
    path: Path


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version in the model registry.

    Attributes:
        number: Its number in the registry.
        gated: The model that was evaluated on a holdout it had not seen; later models start from it
            and are compared with it.
        served: The model that answers users: the same one, or `gated` after a catch-up on that
            holdout.
    """

    number: str
    gated: StoredModel
    served: StoredModel

    @property
    def folder(self) -> Path:
        """The registry's folder of this version, which holds the folders of both models."""
        return self.served.path.parents[1]
