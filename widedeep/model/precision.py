"""In which numbers training multiplies: float32, or bfloat16 where the processor has it.

Only the hidden layers of a training step are multiplied in bfloat16. Weights, what the optimisers
remember, embeddings, the wide part, the output layer and every score are float32 whatever is
chosen. Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training" (2019).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch

WORTHWHILE = 400_000
"""Multiplications a row of the hidden layers from which bfloat16 is the faster one.

Below it, converting weights and gradients costs what the products save (see the notes of
`tests/benchmarks/speed`).
"""

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
_EXACT = 1e-5


class Precision(StrEnum):
    """What a user may ask for; `auto` is bfloat16 where that is the faster one."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"

    def chosen(self, widths: tuple[int, ...], device: torch.device) -> "Precision":
        """FLOAT32 or BFLOAT16, for layers of these `widths`, that of the input first."""
        if self is not Precision.AUTO:
            return self
        multiplied = sum(wide * narrow for wide, narrow in pairwise(widths))
        worthwhile = multiplied >= WORTHWHILE and _has_bfloat16(device)
        return Precision.BFLOAT16 if worthwhile else Precision.FLOAT32

    @property
    def dtype(self) -> torch.dtype:
        """That of the products; `auto` must have been `chosen` before."""
        return {Precision.FLOAT32: torch.float32, Precision.BFLOAT16: torch.bfloat16}[self]


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    found = torch.cpu.get_capabilities()
    return any(found.get(flag, False) for flag in _CPU_FLAGS)


@contextmanager
def fast_products() -> Iterator[None]:
    """Multiply float32 by the library that is fast on this processor while the block works.

    torch takes MKL, which on processors of AMD runs at half the speed of oneDNN. torch has one
    setting for all of a process, which is put back afterwards.
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if _onednn_is_better() else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _onednn_is_better() -> bool:
    """By the maker and by exactness, never by a clock: the same machine must choose the same."""
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "AuthenticAMD" in cpu.read_text("utf-8") and _onednn_is_exact()


def _onednn_is_exact() -> bool:
    """Whether `medium`, which allows oneDNN to round to bfloat16, does without that here."""
    draws = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 256, 256, generator=draws)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    found = left @ right
    torch.set_float32_matmul_precision(before)
    wanted = left.double() @ right.double()
    return bool((found - wanted).abs().max() / wanted.abs().max() < _EXACT)
