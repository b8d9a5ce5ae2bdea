"""Records, nested as deep as they like, as one file that a process maps instead of reading it.

A record is a dataclass or a named tuple. What its attributes are, their declared types say: other
records, arrays of numbers or strings, tensors, and tuples, mappings and options of such; anything
else JSON can write. The file is the arrays, then JSON that names their places, then how long that
is: for a handover between processes of one machine, not to be kept.

A file that another process can open for as long as this one holds it.
"""

import json
import mmap
import os
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import UnionType
from typing import Any, BinaryIO, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Record = TypeVar("Record")

_ALIGNED = 64
"""Bytes: arrays begin at multiples, as matrix products like their operands to lie."""

_LAST = 8
"""Bytes of the number at the end."""


def save_record(record: object, path: Path) -> None:
    """Write a record."""
    with path.open("wb") as file:
        outline = json.dumps(_taken_apart(record, file)).encode()
        file.write(outline + len(outline).to_bytes(_LAST, "little"))


def load_record(kind: type[Record], path: Path) -> Record:
    """Read what `save_record` wrote of a record of this `kind`.

    Arrays and tensors lie in the file's pages until they are written to, so nothing is copied here:
    the file may lose its name, but must not change.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    end = len(pages) - _LAST
    begin = end - int.from_bytes(pages[end:], "little")
    found: Record = _put_together(kind, json.loads(pages[begin:end]), pages)
    return found


@cache
def _kinds(record: object) -> Mapping[str, Any]:
    """The declared kind of each attribute."""
    return get_type_hints(record)


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields"))


def _taken_apart(held: Any, file: BinaryIO) -> Any:  # noqa: ANN401
    """What JSON writes of it; arrays go into the file, their places stand in their stead."""
    if isinstance(held, torch.dtype):
        return str(held).removeprefix("torch.")
    if isinstance(held, np.ndarray):
        return held.tolist() if held.dtype.kind == "T" else _written(held, file)
    if isinstance(held, Tensor):
        # Numpy has no bfloat16.
        bits = held.view(torch.int16) if held.dtype == torch.bfloat16 else held
        return _written(bits.numpy(), file) | {"of": _taken_apart(held.dtype, file)}
    if _is_record(type(held)):
        held = {part: getattr(held, part) for part in _kinds(held.__class__)}
    if isinstance(held, Mapping):
        return {key: _taken_apart(part, file) for key, part in held.items()}
    if isinstance(held, tuple):
        return [_taken_apart(part, file) for part in held]
    return held


def _written(array: NDArray[Any], file: BinaryIO) -> dict[str, Any]:
    """Append an array; its place."""
    at = file.seek(-file.tell() % _ALIGNED, os.SEEK_CUR)
    file.write(np.ascontiguousarray(array).data)
    return {"at": at, "dtype": array.dtype.str, "shape": array.shape}


def _found(place: Mapping[str, Any], pages: mmap.mmap) -> NDArray[Any]:
    """The array at a place."""
    return np.ndarray(tuple(place["shape"]), place["dtype"], pages, place["at"])


def _put_together(kind: Any, outline: Any, pages: mmap.mmap) -> Any:  # noqa: ANN401
    """An object of this kind."""
    if get_origin(kind) is UnionType:
        # An option, or arrays of several kinds, which are read alike.
        return None if outline is None else _put_together(get_args(kind)[0], outline, pages)
    if _is_record(kind):
        kinds = _kinds(kind)
        return kind(**{part: _put_together(kinds[part], outline[part], pages) for part in kinds})
    if kind is torch.dtype:
        return getattr(torch, outline)
    if kind is Tensor:
        return torch.from_numpy(_found(outline, pages)).view(getattr(torch, outline["of"]))
    return _collected(kind, outline, pages)


def _collected(kind: Any, outline: Any, pages: mmap.mmap) -> Any:  # noqa: ANN401
    origin, kinds = get_origin(kind), get_args(kind)
    if origin is np.ndarray and isinstance(outline, list):
        return np.array(outline, np.dtypes.StringDType())
    if origin is np.ndarray:
        return _found(outline, pages)
    if origin is tuple:
        kinds = kinds[:1] * len(outline) if kinds[-1] is ... else kinds
        pairs = zip(kinds, outline, strict=True)
        return tuple(_put_together(of, part, pages) for of, part in pairs)
    if origin is Mapping:
        return {key: _put_together(kinds[1], part, pages) for key, part in outline.items()}
    return outline


class SharedFile:
    """Empty at first. In memory where the system has such files, else among temporary ones.

    Nothing is left of it when its process ends and nobody has it mapped. To let go of a large file
    on a disk kept a server from answering for .1 s; one in memory is let go in 1 ms.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file: BinaryIO = os.fdopen(os.memfd_create("widedeep"), "wb")
            self.path = Path(f"/proc/{os.getpid()}/fd/{self._file.fileno()}")
        else:
            self._file = cast("BinaryIO", NamedTemporaryFile(prefix="widedeep-"))  # noqa: SIM115
            self.path = Path(self._file.name)

    def close(self) -> None:
        """Nobody can open it any more; those who have mapped it keep it."""
        self._file.close()
