"""The feedback log: the interactions that a server accepted, as one more file of interactions.

An interaction is acknowledged only when it is on the disk. One thread writes; interactions that
arrive while the disk works are flushed together (group commit: DeWitt et al., "Implementation
techniques for main memory database systems", SIGMOD 1984, section 5), so many users cost hardly
more flushes than one.

The file grows by whole lines only and may grow while it is read: `open_feedback` and
`read_feedback` use the lines that were complete at that moment.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout

from widedeep.data.dataset import DatasetSpec, Feature, FeatureType
from widedeep.data.dataset_tables import LabelRule, TimeUnit
from widedeep.data.files import DelimitedFile, FileFormat, FileRange, Rows
from widedeep.data.ids import id_text
from widedeep.data.tables import Interactions, read_context
from widedeep.data.validation import InteractionRules, RowCheck
from widedeep.data.values import parse_integers
from widedeep.inputs import InputError
from widedeep.store import atomic_write, flush_to_disk
from widedeep.workspace import BusyError

FEEDBACK_FILE = "feedback.tsv"
_COLUMNS = ("user", "item", "time", "label", "value", "context")
FEEDBACK_HEADER = "\t".join(_COLUMNS) + "\n"
_FORMER_FILE, _FORMER_HEADER = "rates-events.csv", "user,movie,rate,time\n"
"""The log of earlier versions, which is taken over."""

TORN_FOLDER = "torn"
"""The folder of incomplete last lines that a crash left; none of them was acknowledged."""

_LOCK, _TAKE_OVER_LOCK = "server.lock", ".take-over.lock"
_LARGEST_BATCH = 4096
_BLOCK = 1 << 16
_FOREVER = 1 << 62
_POSITIVE_TEN = 10
_BETWEEN_VALUES = "\x1f"


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """An interaction that a server was told of.

    Attributes:
        user: Key of the user.
        item: Key of the item.
        value: The number that history averages; the label, 0 or 1, where the data have no value.
        time: UNIX seconds.
        label: Whether the interaction is positive.
        context: The request's features of context and user, as they were given.
        user_id: The user's id as text; the key itself if empty.
        item_id: The item's id as text; the key itself if empty.
    """

    user: int
    item: int
    value: float
    time: int
    label: bool
    context: Mapping[str, Any] = field(default_factory=dict)
    user_id: str = ""
    item_id: str = ""

    def line(self) -> str:
        """Return the event as a line of the log."""
        context = json.dumps(dict(self.context), ensure_ascii=False) if self.context else ""
        fields = (
            id_text(self.user_id) or str(self.user),
            id_text(self.item_id) or str(self.item),
            str(self.time),
            str(int(self.label)),
            f"{self.value:.9g}",
            context,
        )
        return "\t".join(fields) + "\n"


@dataclass(frozen=True, slots=True)
class Flush:
    """Ratings that reached the disk together.

    Attributes:
        events: The interactions in their order.
        end: Size of the log after them, in bytes.
        seconds: How long writing and flushing took.
    """

    events: tuple[FeedbackEvent, ...]
    end: int
    seconds: float


ApplyFlush = Callable[[Flush], Sequence[bool]]
"""Called with each flush before it is acknowledged; returns whether each interaction was news."""


class FeedbackLog:
    """The interactions that the server of one model accepted, in `<folder>/feedback.tsv`.

    Attributes:
        path: The file.
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
        _take_over_former_log(folder)
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
        """Queue an interaction; the future is done when it is durable and has been applied.

        The future returns whether the interaction was news. If it raises OSError, the log does not
        contain the interaction.
        """
        done: Future[bool] = Future()
        self._waiting.put((event, done))
        return done

    def close(self) -> None:
        """Write the waiting interactions, and release the log."""
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
        """Commit the waiting interactions in batches until `close` is called."""
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

        An interaction whose future was cancelled is not written.
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
        text = "".join(event.line() for event in events).encode()
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


def feedback_spec(spec: DatasetSpec) -> DatasetSpec:
    """Return the spec of the log: the features of the data set, in the log's own columns."""
    own = spec.interactions
    value = None if own.value is None else replace(own.value, column="value")
    table = replace(
        own,
        user="user",
        item="item",
        time="time",
        time_unit=TimeUnit.SECONDS,
        label=LabelRule("label"),
        value=value,
        weight=None,
        separator="\t",
        columns=None,
    )
    features = tuple(_as_given(f) if f.table == "interactions" else f for f in spec.features)
    return replace(spec, interactions=table, features=features)


def _as_given(feature: Feature) -> Feature:
    """Return a feature of interactions as a request gives it: by its name, and already read.

    Its column is `context.<name>`, so that it is none of the log's own columns.
    """
    separator = _BETWEEN_VALUES if feature.type is FeatureType.BAG else None
    source = f"interactions.context.{feature.name}"
    return replace(feature, source=source, pattern=None, separator=separator)


@dataclass(frozen=True, slots=True)
class FeedbackFile:
    """The complete lines of a feedback log, with the context features as columns of their own.

    `features` are those of the interactions in `feedback_spec`.
    """

    lines: DelimitedFile
    features: tuple[Feature, ...]

    @property
    def path(self) -> Path:
        """Where the log of the server lies."""
        return self.lines.path

    @property
    def size(self) -> int:
        """Number of bytes that are read."""
        return self.lines.size

    def count_rows(self) -> int:
        """Return the number of rows, good or bad."""
        return self.lines.count_rows()

    def ranges(self) -> Iterator[FileRange]:
        """Yield ranges of bytes, each of whole lines."""
        return self.lines.ranges()

    def read(self, part: FileRange) -> Rows:
        """Return the rows of a range of bytes."""
        rows = self.lines.read(part)
        given = [_context(text) for text in rows.columns["context"].to_pylist()]
        columns = rows.columns.drop_columns("context")
        for feature in self.features:
            texts = [_as_text(feature, context.get(feature.name)) for context in given]
            columns = columns.append_column(feature.column, pa.array(texts, pa.string()))
        return Rows(rows.line, columns, rows.faults, rows.text)


def _context(text: str | None) -> dict[str, Any]:
    """Return the context of a line; that of a line edited by hand may be lost."""
    try:
        values = json.loads(text) if text else {}
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _as_text(feature: Feature, value: Any) -> str:  # noqa: ANN401  a JSON value
    if value is None:
        return ""
    if isinstance(value, list):
        return (feature.separator or ",").join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def open_feedback(path: Path, spec: DatasetSpec) -> FeedbackFile | None:
    """Return the complete lines that the log has now; None if it has no interaction."""
    _take_over_former_log(path.parent)
    size = complete_size(path)
    if size <= len(FEEDBACK_HEADER):
        return None
    lines = DelimitedFile.open(path, FileFormat(_COLUMNS, "\t"), size)
    features = (f for f in feedback_spec(spec).features if f.table == "interactions")
    return FeedbackFile(lines, tuple(features))


def read_feedback(
    path: Path, spec: DatasetSpec, start: int = 0, end: int | None = None
) -> Interactions:
    """Return the log's interactions between the bytes `start` and `end`, in their order.

    Both bytes are ends of lines; None is the end of the file. Lines that are not interactions,
    because the file was edited by hand, are left out.
    """
    return read_feedback_with_texts(path, spec, start, end)[0]


def read_feedback_with_texts(
    path: Path, spec: DatasetSpec, start: int = 0, end: int | None = None
) -> tuple[Interactions, list[str]]:
    """Return what `read_feedback` does, and those ids of its users that are no integers."""
    check = _check_feedback(path, spec, start, end)
    if check is None:
        return Interactions.empty(), []
    good = check.good
    of_users = pc.is_in(check.texts["key"], pc.unique(good["user"]))
    texts: list[str] = pc.unique(check.texts["id"].filter(of_users)).to_pylist()
    context = {
        f.name: read_context(good[f.name])
        for f in spec.features
        if f.table == "interactions" and f.side == "context"
    }
    user, item, value, time, label = (
        good[name].to_numpy() for name in ("user", "item", "value", "time", "label")
    )
    return Interactions(user, item, value, time, label, context=context), texts


def _check_feedback(path: Path, spec: DatasetSpec, start: int, end: int | None) -> RowCheck | None:
    """Check the lines between two bytes; return None if there is no line."""
    begin = max(start, len(FEEDBACK_HEADER))
    stop = complete_size(path) if end is None else end
    feedback = open_feedback(path, spec) if stop > begin else None
    if feedback is None:
        return None
    rules = InteractionRules(feedback_spec(spec), None, "", _FOREVER, TimeUnit.SECONDS)
    return rules.check(feedback, feedback.read(FileRange(begin, stop - 1, 2)))


def feedback_size(path: Path) -> int:
    """Return the bytes of a log up to its last complete line, for `end` of `read_feedback`.

    A log of an earlier version is taken over first; 0: there is no log.
    """
    _take_over_former_log(path.parent)
    return complete_size(path)


def feedback_events(interactions: Interactions) -> Iterator[FeedbackEvent]:
    """Yield what `read_feedback` returned as single events, without their context."""
    columns = (interactions.user, interactions.item, interactions.value, interactions.time)
    rows = zip(*(c.tolist() for c in columns), interactions.label.tolist(), strict=True)
    for user, item, value, time_, label in rows:
        yield FeedbackEvent(user, item, value, time_, label)


def _take_over_former_log(folder: Path) -> None:
    """Write the interactions that an earlier version logged into a new log, unless there is one.

    A server and ingest may do so at once; the lock keeps one from replacing the other's log.
    """
    former, path = folder / _FORMER_FILE, folder / FEEDBACK_FILE
    if path.exists() or complete_size(former) <= len(_FORMER_HEADER):
        return
    with FileLock(folder / _TAKE_OVER_LOCK):
        if not path.exists():
            _write_former_log(former, path)


def _write_former_log(former: Path, path: Path) -> None:
    text = former.read_bytes()[: complete_size(former)].decode()
    fields = pc.split_pattern(pa.array(text.splitlines()[1:]), ",").to_pylist()
    events = []
    for user, item, value, given_at in (row for row in fields if len(row) == 4):  # noqa: PLR2004
        numbers = parse_integers(pa.chunked_array([[user, item, value, given_at]]))
        if np.isfinite(numbers).all():
            rate = int(value)
            events.append(
                FeedbackEvent(int(user), int(item), rate, int(given_at), rate >= _POSITIVE_TEN)
            )
    with atomic_write(path) as draft:
        draft.write_text(FEEDBACK_HEADER + "".join(e.line() for e in events), encoding="utf-8")


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
