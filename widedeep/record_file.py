"""Records, nested as deep as they like, as one safetensors file.

A record is a dataclass or a named tuple. What its attributes are, their declared types say: other
records, arrays, tensors, and tuples, mappings and options of such; anything else JSON can write.
"""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

Record = TypeVar("Record")

_OUTLINE = "outline"


def save_record(record: object, path: Path) -> None:
    """Write a record."""
    arrays: dict[str, NDArray[Any]] = {}
    outline = _taken_apart(record, "", arrays)
    path.write_bytes(save(arrays, {_OUTLINE: json.dumps(outline)}))


def load_record(kind: type[Record], path: Path) -> Record:
    """Read what `save_record` wrote of a record of this `kind`.

    Arrays lie in the file's pages until they are written to, so nothing is copied here: the file
    may lose its name, but must not change. Tensors are copied to where products like them to lie.
    """
    with safe_open(path, framework="pt") as file:
        outline = json.loads(file.metadata()[_OUTLINE])
        held = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    found: Record = _put_together(kind, outline, held)
    return found


@cache
def _kinds(record: object) -> Mapping[str, Any]:
    """The declared kind of each attribute."""
    return get_type_hints(record)


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and (is_dataclass(kind) or hasattr(kind, "_fields"))


def _taken_apart(held: Any, name: str, arrays: dict[str, NDArray[Any]]) -> Any:  # noqa: ANN401
    """What JSON writes of it, with the names of the `arrays` in their places."""
    if isinstance(held, torch.dtype):
        return str(held).removeprefix("torch.")
    if isinstance(held, np.ndarray):
        arrays[name] = np.ascontiguousarray(held)
        return name
    if isinstance(held, Tensor):
        # Numpy has no bfloat16.
        bits = held.view(torch.int16) if held.dtype == torch.bfloat16 else held
        arrays[name] = bits.contiguous().numpy()
        return [name, _taken_apart(held.dtype, "", arrays)]
    if _is_record(type(held)):
        held = {part: getattr(held, part) for part in _kinds(held.__class__)}
    if isinstance(held, Mapping):
        return {key: _taken_apart(part, f"{name}.{key}", arrays) for key, part in held.items()}
    if isinstance(held, tuple):
        return [_taken_apart(part, f"{name}.{i}", arrays) for i, part in enumerate(held)]
    return held


def _put_together(kind: Any, outline: Any, held: Mapping[str, Tensor]) -> Any:  # noqa: ANN401
    """An object of this kind, with the arrays that are `held` by name."""
    if get_origin(kind) is UnionType:
        # An option, or arrays of several kinds, which are read alike.
        return None if outline is None else _put_together(get_args(kind)[0], outline, held)
    if _is_record(kind):
        kinds = _kinds(kind)
        return kind(**{part: _put_together(kinds[part], outline[part], held) for part in kinds})
    if kind is torch.dtype:
        return getattr(torch, outline)
    if kind is Tensor:
        name, dtype = outline
        return held[name].view(getattr(torch, dtype)).clone()
    return _collected(kind, outline, held)


def _collected(kind: Any, outline: Any, held: Mapping[str, Tensor]) -> Any:  # noqa: ANN401
    origin, kinds = get_origin(kind), get_args(kind)
    if origin is np.ndarray:
        return held[outline].numpy()
    if origin is tuple:
        kinds = kinds[:1] * len(outline) if kinds[-1] is ... else kinds
        pairs = zip(kinds, outline, strict=True)
        return tuple(_put_together(of, part, held) for of, part in pairs)
    if origin is Mapping:
        return {key: _put_together(kinds[1], part, held) for key, part in outline.items()}
    return outline
