"""Write-once directories with a manifest: what a finished stage leaves behind.

An artefact's id is a digest of everything it was made from (inputs, settings, code), so the same
work has the same id and is found again instead of being repeated: that is the resume after a crash.
It is built in a draft folder and appears under its id by one rename, complete or not at all.

Files that appear whole or not at all.
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

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished directory: `summary` is what its builder said of it, as JSON values."""

    kind: str
    id: str
    path: Path
    key: Json
    summary: Json

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the manifest in `path`; raises OSError if a file is missing or has another size."""
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name, size in manifest["files"].items():
            found = (path / name).stat().st_size
            if found != size:
                message = f"{path / name}: {found} bytes found, {size} bytes written; delete {path}"
                raise OSError(message)
        return cls(manifest["kind"], manifest["id"], path, manifest["key"], manifest["summary"])


class Draft:
    """A folder that is being filled; `finish` makes it an artefact."""

    def __init__(self, kind: str, path: Path, root: Path) -> None:
        self.path = path
        self._kind = kind
        self._root = root

    def finish(self, key: Json, summary: Json) -> Artifact:
        """Write the manifest last, flush everything to the disk, and rename into place."""
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
            _flush(self.path / name)
        final = self._root / self._kind / identity
        final.parent.mkdir(parents=True, exist_ok=True)
        if not final.exists():
            self.path.rename(final)
            _flush(final.parent)
        return Artifact.load(final)


class ArtifactStore:
    """All artefacts below one folder, as `<root>/<kind>/<id>/`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, kind: str, key: Json) -> Artifact | None:
        """The finished artefact made from `key`, if there is one."""
        return self.held(kind, content_id(key))

    def held(self, kind: str, identity: str) -> Artifact | None:
        """The finished artefact with that id, if there is one."""
        path = self.root / kind / identity
        return Artifact.load(path) if path.exists() else None

    def get(self, kind: str, key: Json, build: Callable[[Path], Json]) -> Artifact:
        """Find the artefact made from `key`, or have `build` fill a folder and return a summary."""
        found = self.find(kind, key)
        if found is not None:
            return found
        with self.draft(kind) as draft:
            return draft.finish(key, build(draft.path))

    @contextmanager
    def draft(self, kind: str) -> Iterator[Draft]:
        """Give a folder to fill; whatever was not finished by the end is removed."""
        path = self.root / _DRAFTS / f"{kind}-{uuid.uuid4().hex}"
        path.mkdir(parents=True)
        try:
            yield Draft(kind, path, self.root)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what killed runs left unfinished; only for the holder of the home's lock."""
        shutil.rmtree(self.root / _DRAFTS, ignore_errors=True)


def content_id(key: Json) -> str:
    """A short digest of `key`'s canonical JSON."""
    text = json.dumps(key, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:_ID_LENGTH]


def file_digest(path: Path, size: int | None = None) -> str:
    """SHA-256 of a file's bytes (of its first `size` ones), in hexadecimal."""
    digest, left = hashlib.sha256(), path.stat().st_size if size is None else size
    with path.open("rb") as file:
        while block := file.read(min(left, _BLOCK)):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


@cache
def code_version(*wings: str) -> str:
    """A digest of the library's source: the ground floor and the named wings.

    A stage names the wings it runs, so a change in serving code retrains nothing.
    """
    package = Path(__file__).parent
    files = [*package.glob("*.py")]
    for wing in wings:
        files += (package / wing).rglob("*.py")
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:_ID_LENGTH]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """A file beside `path` that takes its place when all went well, and goes when not."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
