"""The log of what users did: a rating is acknowledged only when it lies on the disk.

One thread writes. Ratings that wait while the disk works are flushed together (group commit:
DeWitt et al., Implementation techniques for main memory database systems, SIGMOD 1984, section 5),
so many users cost hardly more flushes than one.

Ratings that a server took, as one more file in KMRD's form.

The file only grows, by whole lines, and may grow while it is read: whoever reads it takes the lines
that were whole when it looked.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import astuple, dataclass
from io import BytesIO
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
from filelock import FileLock, Timeout

from widedeep.data.files import RATES, DelimitedFile
from widedeep.inputs import InputError
from widedeep.workspace import BusyError

FEEDBACK_FILE = "rates-events.csv"
FEEDBACK_HEADER = f"{','.join(RATES.columns)}\n"

_BLOCK = 1 << 16


def open_feedback(path: Path) -> DelimitedFile | None:
    """The whole lines that are there now; None if no rating is."""
    size = whole_lines(path)
    return DelimitedFile.open(path, RATES, size) if size > len(FEEDBACK_HEADER) else None


def whole_lines(path: Path) -> int:
    """Bytes of the file up to its last line end; what follows was cut off while it was written."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end:
            start = max(end - _BLOCK, 0)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0


TORN = "torn"
"""The folder of line ends that a crash cut off; none of them was acknowledged."""

_LOCK = "server.lock"
_INTEGER = r"^-?[0-9]{1,18}$"
_MOST_AT_ONCE = 4096
_NAMES = ["user", "item", "value", "time"]
_COLUMNS = pa.schema([(name, pa.int64()) for name in _NAMES])


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """A rating: tokens of user and item, 1 to 10, UNIX seconds."""

    user: int
    item: int
    value: int
    time: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Ratings that reached the disk together: the log's bytes up to them, and how long it took."""

    events: tuple[FeedbackEvent, ...]
    end: int
    seconds: float


Applied = Callable[[Flush], Sequence[bool]]
"""Is told of each flush before it is acknowledged; says of each rating whether it was news."""


class FeedbackLog:
    """The ratings that the server of one model took, in `<folder>/rates-events.csv`.

    Attributes:
        path: The file, in KMRD's form, see `widedeep.data.events`.
        torn: Bytes that were found cut off and set aside at the start.
    """

    def __init__(self, folder: Path, applied: Applied) -> None:
        """Open or begin the log, and set aside a last line that was cut off.

        Raises:
            BusyError: Another server has it.
            InputError: The file is no event log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FEEDBACK_FILE
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self._hold()
        self.torn = _set_torn_aside(self.path)
        self._end = _begin(self.path)
        self._applied = applied
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self._waiting: SimpleQueue[tuple[FeedbackEvent, Future[bool]] | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="event log", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, event: FeedbackEvent) -> Future[bool]:
        """Have a rating written; the future is done once it is durable and has been applied.

        It gives whether the rating was news, or raises OSError, and then the log is without it.
        """
        done: Future[bool] = Future()
        self._waiting.put((event, done))
        return done

    def close(self) -> None:
        """Write what waits, and give the log free."""
        self._waiting.put(None)
        self._thread.join()
        os.close(self._file)
        self._lock.release()

    def _hold(self) -> None:
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            message = f"another server writes {self.path}; stop it first"
            raise BusyError(message) from error

    def _write_all(self) -> None:
        while (first := self._waiting.get()) is not None:
            batch, last = [first], False
            while not last and len(batch) < _MOST_AT_ONCE:
                try:
                    following = self._waiting.get_nowait()
                except Empty:
                    break
                last = following is None
                batch += [following] if following is not None else []
            self._commit(batch)
            if last:
                return

    def _commit(self, batch: list[tuple[FeedbackEvent, Future[bool]]]) -> None:
        """Write and flush, then apply, then acknowledge; whatever fails fails all of these.

        A rating that nobody waits for any more is not written.
        """
        batch = [(event, done) for event, done in batch if done.set_running_or_notify_cancel()]
        try:
            flush = self._flush(tuple(event for event, _ in batch))
            news = self._applied(flush)
        except Exception as error:  # noqa: BLE001  whoever waits for it raises it
            for _, done in batch:
                done.set_exception(error)
            return
        for (_, done), new in zip(batch, news, strict=True):
            done.set_result(new)

    def _flush(self, events: tuple[FeedbackEvent, ...]) -> Flush:
        text = "".join(f"{','.join(map(str, astuple(event)))}\n" for event in events).encode()
        begun = time.perf_counter()
        try:
            _write(self._file, text)
            os.fdatasync(self._file)
        except OSError:
            # What was not acknowledged is taken back, so that no half line stands in the middle.
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(text)
        return Flush(events, self._end, time.perf_counter() - begun)


def read_feedback(path: Path, start: int = 0, end: int | None = None) -> pa.Table:
    """The log's ratings between two of its line ends, in their order.

    Lines that are no ratings (somebody edited the file) are left out.

    Returns:
        user, item, rate, time int64 (n,).
    """
    begin = max(start, len(FEEDBACK_HEADER))
    with path.open("rb") as file:
        file.seek(begin)
        text = file.read(-1 if end is None else max(end - begin, 0))
    text = text[: text.rfind(b"\n") + 1]
    names = list(RATES.columns)
    if not text:
        return _COLUMNS.empty_table()
    found = pv.read_csv(
        BytesIO(text),
        read_options=pv.ReadOptions(column_names=names, use_threads=False),
        parse_options=pv.ParseOptions(quote_char=False, invalid_row_handler=_passed_over),
        convert_options=pv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    readable = [pc.match_substring_regex(found[name], _INTEGER) for name in names]
    good = pc.and_(pc.and_(readable[0], readable[1]), pc.and_(readable[2], readable[3]))
    return found.filter(good).rename_columns(_NAMES).cast(_COLUMNS)


def _passed_over(row: pv.InvalidRow) -> str:
    del row
    return "skip"


def _set_torn_aside(path: Path) -> int:
    if not path.exists():
        return 0
    whole, size = whole_lines(path), path.stat().st_size
    if whole < size:
        with path.open("rb+") as file:
            file.seek(whole)
            _keep(path.parent / TORN / f"{time.time_ns()}.txt", file.read())
            file.truncate(whole)
            os.fsync(file.fileno())
    return size - whole


def _begin(path: Path) -> int:
    """Give the file its header; returns its size."""
    if not path.exists() or not path.stat().st_size:
        _keep(path, FEEDBACK_HEADER.encode())
    with path.open("rb") as file:
        found = file.readline(1000)
        if found != FEEDBACK_HEADER.encode():
            wanted = f"{found[:60]!r} found in line 1, {FEEDBACK_HEADER.strip()!r} wanted"
            raise InputError(f"{path} is no event log: {wanted}")
        return file.seek(0, 2)


def _keep(path: Path, content: bytes) -> None:
    """Write a file so that it is there after a power cut, name and all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
