"""Notices that rating files have changed, and says so once they have come to rest."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread

from tasks.announcement import arrived
from widedeep.draft import drafted

SECONDS = 30.0
"""Between two looks: files that are being written change from one to the next."""

Files = list[tuple[str, int, int]]


@dataclass
class Watch:
    """A folder, and the file that remembers what was last announced of it."""

    folder: Path
    memory: Path
    _moving: Files | None = field(default=None, init=False)

    def look(self) -> bool:
        """Whether there is something new, the same as at the last look; it is told once."""
        found = self._files()
        if not self.memory.exists():
            self._remember(found)
        if found == self._known() or found != self._moving:
            self._moving = found
            return False
        self._remember(found)
        return True

    def _files(self) -> Files:
        """Name, size and time of change (ns) of each file."""
        files = sorted(file for file in self.folder.glob("*") if file.is_file())
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def _known(self) -> Files:
        return [tuple(file) for file in json.loads(self.memory.read_text(encoding="utf-8"))]

    def _remember(self, found: Files) -> None:
        self.memory.parent.mkdir(parents=True, exist_ok=True)
        with drafted(self.memory) as draft:
            draft.write_text(json.dumps(found), encoding="utf-8")


@contextmanager
def watching(watch: Watch | None, seconds: float = SECONDS) -> Iterator[None]:
    """Look again and again while the block works, and announce what arrives."""
    if watch is None:
        yield
        return
    done = Event()
    thread = Thread(target=_look, args=(watch, done, seconds), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _look(watch: Watch, done: Event, seconds: float) -> None:
    while not done.wait(seconds):
        if watch.look():
            arrived(str(watch.folder))
