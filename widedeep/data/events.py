"""Ratings that a server took, as one more file in KMRD's form.

The file only grows, by whole lines, and may grow while it is read: whoever reads it takes the lines
that were whole when it looked.
"""

from pathlib import Path

from widedeep.data.kmrd import RATES, KmrdFile

NAME = "rates-events.csv"
HEADER = f"{','.join(RATES.columns)}\n"

_BLOCK = 1 << 16


def open_events(path: Path) -> KmrdFile | None:
    """The whole lines that are there now; None if no rating is."""
    size = whole_lines(path)
    return KmrdFile.open(path, RATES, size) if size > len(HEADER) else None


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
