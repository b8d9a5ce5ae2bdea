"""Hand large records over to another process of the same machine, as a file that it maps.

`save_record` writes a dataclass or named tuple, nested as deep as it likes, and `load_record` maps
the file instead of reading it. The declared types of the attributes say what they are: records,
arrays of numbers or strings, tensors, tuples, mappings and options of such, and anything else that
JSON can write. The file holds the arrays, then an outline in JSON with their offsets, then the
length of the outline. It is not meant to be kept. A `SharedFile` is a place for it that disappears
with its process.
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

_ALIGNMENT = 64
"""Arrays begin at multiples of this many bytes, as matrix products prefer."""

_LENGTH_BYTES = 8
"""Size of the number at the end of the file."""


def save_record(record: object, path: Path) -> None:
    """Write a dataclass or named tuple to a file."""
    with path.open("wb") as file:
        outline = json.dumps(_to_outline(record, file)).encode()
        file.write(outline + len(outline).to_bytes(_LENGTH_BYTES, "little"))


def load_record(kind: type[Record], path: Path) -> Record:
    """Read what `save_record` wrote of a record of class `kind`.

    Arrays and tensors lie in the file's pages until they are written to, so nothing is copied here:
    the file may be unlinked, but must not change.

    Raises:
        KeyError: The record has no attribute of a name that `kind` declares.
    """
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    end = len(pages) - _LENGTH_BYTES
    begin = end - int.from_bytes(pages[end:], "little")
    record: Record = _from_outline(kind, json.loads(pages[begin:end]), pages)
    return record


class SharedFile:
    """An empty file that other processes can open by `path` as long as this one holds it.

    It lies in memory where the system has such files, else among the temporary files. Nothing is
    left of it once its process has ended and no process has it mapped. Releasing a large file on a
    disk kept a server from answering for .1 s; one in memory is released in 1 ms.
    """

    def __init__(self) -> None:
        if hasattr(os, "memfd_create"):
            self._file: BinaryIO = os.fdopen(os.memfd_create("widedeep"), "wb")
            self.path = Path(f"/proc/{os.getpid()}/fd/{self._file.fileno()}")
        else:
            self._file = cast("BinaryIO", NamedTemporaryFile(prefix="widedeep-"))  # noqa: SIM115
            self.path = Path(self._file.name)

    def close(self) -> None:
        """Release the file: it cannot be opened any more, but processes that mapped it keep it."""
        self._file.close()


@cache
def _attribute_types(kind: object) -> Mapping[str, Any]:
    """Return the declared type of each attribute of a record's class."""
    return get_type_hints(kind)


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields"))


def _to_outline(value: Any, file: BinaryIO) -> Any:  # noqa: ANN401
    """Return what JSON can write of a value; arrays are appended to the file and referred to."""
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind == "T" else _append_array(value, file)
    if isinstance(value, Tensor):
        # Numpy has no bfloat16.
        bits = value.view(torch.int16) if value.dtype == torch.bfloat16 else value
        return _append_array(bits.numpy(), file) | {"of": _to_outline(value.dtype, file)}
    if _is_record(type(value)):
        value = {name: getattr(value, name) for name in _attribute_types(value.__class__)}
    if isinstance(value, Mapping):
        return {key: _to_outline(part, file) for key, part in value.items()}
    if isinstance(value, tuple):
        return [_to_outline(part, file) for part in value]
    return value


def _append_array(array: NDArray[Any], file: BinaryIO) -> dict[str, Any]:
    """Append an array to the file, and return where and how it is stored."""
    at = file.seek(-file.tell() % _ALIGNMENT, os.SEEK_CUR)
    file.write(np.ascontiguousarray(array).data)
    return {"at": at, "dtype": array.dtype.str, "shape": array.shape}


def _from_outline(kind: Any, outline: Any, pages: mmap.mmap) -> Any:  # noqa: ANN401
    """Return the value of type `kind` that an outline describes."""
    if get_origin(kind) is UnionType:
        # An option, or arrays of several kinds, which are read alike.
        return None if outline is None else _from_outline(get_args(kind)[0], outline, pages)
    if _is_record(kind):
        types = _attribute_types(kind)
        return kind(**{name: _from_outline(types[name], outline[name], pages) for name in types})
    if kind is torch.dtype:
        return getattr(torch, outline)
    if kind is Tensor:
        return torch.from_numpy(_map_array(outline, pages)).view(getattr(torch, outline["of"]))
    return _collection_from_outline(kind, outline, pages)


def _collection_from_outline(kind: Any, outline: Any, pages: mmap.mmap) -> Any:  # noqa: ANN401
    """Return the array, tuple, mapping or plain value that an outline describes."""
    origin, types = get_origin(kind), get_args(kind)
    if origin is np.ndarray and isinstance(outline, list):
        return np.array(outline, np.dtypes.StringDType())
    if origin is np.ndarray:
        return _map_array(outline, pages)
    if origin is tuple:
        types = types[:1] * len(outline) if types[-1] is ... else types
        pairs = zip(types, outline, strict=True)
        return tuple(_from_outline(part_type, part, pages) for part_type, part in pairs)
    if origin is Mapping:
        return {key: _from_outline(types[1], part, pages) for key, part in outline.items()}
    return outline


def _map_array(stored: Mapping[str, Any], pages: mmap.mmap) -> NDArray[Any]:
    """Return the array that `_append_array` stored, as a view of the file's pages."""
    return np.ndarray(tuple(stored["shape"]), stored["dtype"], pages, stored["at"])
