"""Where tensors lie: with the processor, or on a GPU.

Random numbers are drawn by the processor wherever the rest is, so a seed means the same everywhere.

How matrices are multiplied: in float32, or in bfloat16 where the processor has it.

In training that concerns the products of the hidden layers only. Weights, what the optimisers
remember, embeddings, the wide part and the output layer are float32 whatever is chosen. Kalamkar et
al., "A Study of BFLOAT16 for Deep Learning Training" (2019).

How many threads torch's operations have while a block works, and a thread beside them.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from widedeep.choices import Device, Precision
from widedeep.inputs import InputError

CPU = torch.device("cpu")


def resolve_device(wanted: Device) -> torch.device:
    """The device for torch; `AUTO` is CUDA's current one where there is one.

    Raises:
        InputError: CUDA is wanted of a machine, or of a build of torch, that has none.
    """
    has = torch.cuda.is_available()
    if wanted is Device.CUDA and not has:
        raise InputError(
            f"device is cuda; torch {torch.__version__} finds no GPU here, so auto or cpu is wanted"
        )
    return torch.device("cuda") if has and wanted is not Device.CPU else CPU


def uses_compiled_kernels(tensor: Tensor) -> bool:
    """Whether our compiled loops can work on it; elsewhere torch's operations do the same."""
    return tensor.device.type == CPU.type


WORTHWHILE = 100_000
"""Multiplications a row of the hidden layers from which bfloat16 is the faster one.

Below it, converting weights and gradients costs what the products save (see the notes of
`tests/benchmarks/speed`).
"""

_KINDS = {"cpu": "processor has neither AVX512-BF16 nor AMX", "cuda": "GPU does not have it"}
_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
_EXACT = 1e-5


def matmul_dtype(precision: Precision, device: torch.device = CPU) -> torch.dtype:
    """That of the products; `AUTO` is bfloat16 where the processor has it.

    Raises:
        InputError: bfloat16 is wanted of a processor that would have to emulate it.
    """
    has = _has_bfloat16(device)
    if precision is Precision.BFLOAT16 and not has:
        raise InputError(
            f"precision is bfloat16; this {_KINDS[device.type]}, so auto or float32 is wanted"
        )
    return torch.bfloat16 if has and precision is not Precision.FLOAT32 else torch.float32


def training_dtype(
    precision: Precision, widths: tuple[int, ...], device: torch.device
) -> torch.dtype:
    """That of the hidden layers' products, for layers of these `widths`, the input's first.

    `AUTO` is bfloat16 where that is the faster one. Raises as `matmul_dtype` does.
    """
    multiplied = sum(wide * narrow for wide, narrow in pairwise(widths))
    small = precision is Precision.AUTO and multiplied < WORTHWHILE
    return torch.float32 if small else matmul_dtype(precision, device)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    found = torch.cpu.get_capabilities()
    return any(found.get(flag, False) for flag in _CPU_FLAGS)


@contextmanager
def fast_matmul(device: torch.device = CPU) -> Iterator[None]:
    """Multiply float32 by the library that is fast on this processor while the block works.

    torch takes MKL, which on processors of AMD runs at half the speed of oneDNN. torch has one
    setting for all of a process, which is put back afterwards. A GPU would round by it, so there
    nothing is set.
    """
    before = torch.get_float32_matmul_precision()
    better = device.type == CPU.type and _onednn_is_better()
    torch.set_float32_matmul_precision("medium" if better else before)
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


Found = TypeVar("Found")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """`count` of them; then as many as before. Costs a microsecond; the setting is the process's.

    A small operation takes less time than a second thread needs to wake, and where another process
    works it waits for that thread to be given a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class BackgroundThread:
    """Does what others need not wait for, where there is a core for it; else at once."""

    def __init__(self, cores: int) -> None:
        self._pool = ThreadPoolExecutor(1, "side") if cores > 1 else None

    def begin(self, work: Callable[..., Found], *given: Any) -> Callable[[], Found]:  # noqa: ANN401
        """Begin some `work`; what is returned waits for its end and gives what it found."""
        if self._pool is not None:
            return self._pool.submit(work, *given).result
        found = work(*given)
        return lambda: found
