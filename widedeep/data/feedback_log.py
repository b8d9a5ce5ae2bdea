"""The feedback log: the ratings that a server accepted, as one more rating file in KMRD's form.

A rating is acknowledged only when it is on the disk. One thread writes; ratings that arrive while
the disk works are flushed together (group commit: DeWitt et al., "Implementation techniques for
main memory database systems", SIGMOD 1984, section 5), so many users cost hardly more flushes than
one.

The file grows by whole lines only and may grow while it is read: `open_feedback` and
`read_feedback` use the lines that were complete at that moment.
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

from widedeep.data.files import RATES, DelimitedFile, with_internal_names
from widedeep.inputs import InputError
from widedeep.store import flush_to_disk
from widedeep.workspace import BusyError

FEEDBACK_FILE = "rates-events.csv"
FEEDBACK_HEADER = f"{','.join(RATES.columns)}\n"
TORN_FOLDER = "torn"
"""The folder of incomplete last lines that a crash left; none of them was acknowledged."""

_LOCK = "server.lock"
_INTEGER = r"^-?[0-9]{1,18}$"
_LARGEST_BATCH = 4096
_BLOCK = 1 << 16
_EVENT = pa.schema([(name, pa.int64()) for name in ("user", "item", "value", "time")])


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """A rating: the ids of user and item, the value from 1 to 10, and the time in UNIX seconds."""

    user: int
    item: int
    value: int
    time: int


@dataclass(frozen=True, slots=True)
class Flush:
    """Ratings that reached the disk together.

    Attributes:
        events: The ratings in their order.
        end: Size of the log after them, in bytes.
        seconds: How long writing and flushing took.
    """

    events: tuple[FeedbackEvent, ...]
    end: int
    seconds: float


ApplyFlush = Callable[[Flush], Sequence[bool]]
"""Called with each flush before it is acknowledged; returns for each rating whether it was news."""


class FeedbackLog:
    """The ratings that the server of one model accepted, in `<folder>/rates-events.csv`.

    Attributes:
        path: The file, in KMRD's form.
        torn_bytes: Size of the incomplete last line that was set aside at the start.
    """

    def __init__(self, folder: Path, apply: ApplyFlush) -> None:
        """Open or create the log, and set aside a last line that is incomplete.

        Raises:
            BusyError: Another server writes it.
            InputError: The file is not a feedback log.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / FEEDBACK_FILE
        self._lock = FileLock(folder / _LOCK, thread_local=False)
        self._acquire_lock()
        self.torn_bytes = _set_torn_line_aside(self.path)
        self._end = _ensure_header(self.path)
        self._apply = apply
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        self._waiting: SimpleQueue[tuple[FeedbackEvent, Future[bool]] | None] = SimpleQueue()
        self._thread = Thread(target=self._write_all, name="feedback log", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, event: FeedbackEvent) -> Future[bool]:
        """Queue a rating; the future is done when it is durable and has been applied.

        The future returns whether the rating was news. If it raises OSError, the log does not
        contain the rating.
        """
        done: Future[bool] = Future()
        self._waiting.put((event, done))
        return done

    def close(self) -> None:
        """Write the waiting ratings, and release the log."""
        self._waiting.put(None)
        self._thread.join()
        os.close(self._file)
        self._lock.release()

    def _acquire_lock(self) -> None:
        try:
            self._lock.acquire(blocking=False)
        except Timeout as error:
            message = f"another server writes {self.path}; stop it first"
            raise BusyError(message) from error

    def _write_all(self) -> None:
        """Commit the waiting ratings in batches until `close` is called."""
        while (first := self._waiting.get()) is not None:
            batch, last = [first], False
            while not last and len(batch) < _LARGEST_BATCH:
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
        """Write and flush, then apply, then acknowledge; an error fails the whole batch.

        A rating whose future was cancelled is not written.
        """
        batch = [(event, done) for event, done in batch if done.set_running_or_notify_cancel()]
        try:
            flush = self._flush(tuple(event for event, _ in batch))
            news = self._apply(flush)
        except Exception as error:  # noqa: BLE001  the futures raise it where they are awaited
            for _, done in batch:
                done.set_exception(error)
            return
        for (_, done), new in zip(batch, news, strict=True):
            done.set_result(new)

    def _flush(self, events: tuple[FeedbackEvent, ...]) -> Flush:
        text = "".join(f"{','.join(map(str, astuple(event)))}\n" for event in events).encode()
        started = time.perf_counter()
        try:
            _write(self._file, text)
            os.fdatasync(self._file)
        except OSError:
            # Remove what was not acknowledged, so that no half line stands in the middle.
            os.ftruncate(self._file, self._end)
            raise
        self._end += len(text)
        return Flush(events, self._end, time.perf_counter() - started)


def open_feedback(path: Path) -> DelimitedFile | None:
    """Return the complete lines that the log has now as a rating file; None if it has no rating."""
    size = complete_size(path)
    return DelimitedFile.open(path, RATES, size) if size > len(FEEDBACK_HEADER) else None


def read_feedback(path: Path, start: int = 0, end: int | None = None) -> pa.Table:
    """Return the log's ratings between the bytes `start` and `end`, in their order.

    Both bytes are ends of lines; None is the end of the file. Lines that are not ratings, because
    the file was edited by hand, are left out.

    Returns:
        user, item, value, time, (n,) int64 each.
    """
    begin = max(start, len(FEEDBACK_HEADER))
    with path.open("rb") as file:
        file.seek(begin)
        text = file.read(-1 if end is None else max(end - begin, 0))
    text = text[: text.rfind(b"\n") + 1]
    names = list(RATES.columns)
    if not text:
        return _EVENT.empty_table()
    rows = pv.read_csv(
        BytesIO(text),
        read_options=pv.ReadOptions(column_names=names, use_threads=False),
        parse_options=pv.ParseOptions(quote_char=False, invalid_row_handler=_skip_row),
        convert_options=pv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
    )
    readable = [pc.match_substring_regex(rows[name], _INTEGER) for name in names]
    good = pc.and_(pc.and_(readable[0], readable[1]), pc.and_(readable[2], readable[3]))
    return with_internal_names(rows.filter(good)).cast(_EVENT)


def complete_size(path: Path) -> int:
    """Return the bytes of the file up to its last line end; an incomplete line may follow."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        end = file.seek(0, 2)
        while end:
            start = max(end - _BLOCK, 0)
            file.seek(start)
            line_end = file.read(end - start).rfind(b"\n")
            if line_end >= 0:
                return start + line_end + 1
            end = start
    return 0


def _skip_row(row: pv.InvalidRow) -> str:
    del row
    return "skip"


def _set_torn_line_aside(path: Path) -> int:
    """Move an incomplete last line to the folder of torn lines; return its size in bytes."""
    if not path.exists():
        return 0
    complete, size = complete_size(path), path.stat().st_size
    if complete < size:
        with path.open("rb+") as file:
            file.seek(complete)
            _write_durably(path.parent / TORN_FOLDER / f"{time.time_ns()}.txt", file.read())
            file.truncate(complete)
            os.fsync(file.fileno())
    return size - complete


def _ensure_header(path: Path) -> int:
    """Write the header if the file is new, and check it otherwise; return the file's size."""
    if not path.exists() or not path.stat().st_size:
        _write_durably(path, FEEDBACK_HEADER.encode())
    with path.open("rb") as file:
        header = file.readline(1000)
        if header != FEEDBACK_HEADER.encode():
            raise InputError(
                f"{path} is not a feedback log: line 1 is {header[:60]!r}, "
                f"expected {FEEDBACK_HEADER.strip()!r}"
            )
        return file.seek(0, 2)


def _write_durably(path: Path, content: bytes) -> None:
    """Write a file so that its content and its name survive a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    for changed in (path, path.parent, path.parent.parent):
        flush_to_disk(changed)


def _write(file: int, text: bytes) -> None:
    while text:
        text = text[os.write(file, text) :]
