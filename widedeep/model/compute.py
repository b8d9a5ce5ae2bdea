"""How a training computes: device, precision of matrix products, threads.

`resolve_device` turns the user's choice of a device into torch's. Random numbers are always drawn
on the CPU, so a seed means the same on every device.

`training_dtype` chooses float32 or bfloat16 for the matrix products of the hidden layers. Weights,
optimiser state, embeddings, the wide part and the output layer are float32 whatever is chosen
(Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", 2019). `fast_matmul` chooses the
library of the float32 products.

`torch_threads` limits the threads of torch's operations in a block; `BackgroundThread` runs work
beside them.
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

from widedeep.inputs import Device, InputError, Precision

CPU = torch.device("cpu")

BFLOAT16_MIN_MULTIPLICATIONS = 100_000
"""Multiplications per row of the hidden layers from which on bfloat16 is faster than float32.

With fewer, converting weights and gradients costs what the products save (see the notes of
`tests/benchmarks/speed`).
"""

_NO_BFLOAT16 = {
    "cpu": "processor has neither AVX512-BF16 nor AMX",
    "cuda": "GPU does not support it",
}
_CPU_FLAGS = ("avx512_bf16", "amx_bf16")
_EXACT = 1e-5

Result = TypeVar("Result")


def resolve_device(device: Device) -> torch.device:
    """Return torch's device for a user's choice; `AUTO` is CUDA's current device if there is one.

    Raises:
        InputError: `device` is CUDA and this machine, or this build of torch, has no GPU.
    """
    has_gpu = torch.cuda.is_available()
    if device is Device.CUDA and not has_gpu:
        raise InputError(
            f"device is cuda, but torch {torch.__version__} finds no GPU on this machine; "
            "use auto or cpu"
        )
    return torch.device("cuda") if has_gpu and device is not Device.CPU else CPU


def uses_compiled_kernels(tensor: Tensor) -> bool:
    """Return whether our compiled loops work on `tensor`; on a GPU torch's operations are used."""
    return tensor.device.type == CPU.type


def matmul_dtype(precision: Precision, device: torch.device = CPU) -> torch.dtype:
    """Return the dtype of matrix products; `AUTO` is bfloat16 if `device` has it in hardware.

    Raises:
        InputError: `precision` is bfloat16 and `device` would have to emulate it.
    """
    has_bfloat16 = _has_bfloat16(device)
    if precision is Precision.BFLOAT16 and not has_bfloat16:
        raise InputError(
            f"precision is bfloat16, but this {_NO_BFLOAT16[device.type]}; use auto or float32"
        )
    wants_bfloat16 = has_bfloat16 and precision is not Precision.FLOAT32
    return torch.bfloat16 if wants_bfloat16 else torch.float32


def training_dtype(
    precision: Precision, widths: tuple[int, ...], device: torch.device
) -> torch.dtype:
    """Return the dtype of the products of hidden layers with these `widths`, input first.

    `AUTO` is bfloat16 only where that is faster (see `BFLOAT16_MIN_MULTIPLICATIONS`). Raises as
    `matmul_dtype` does.
    """
    multiplications = sum(wide * narrow for wide, narrow in pairwise(widths))
    if precision is Precision.AUTO and multiplications < BFLOAT16_MIN_MULTIPLICATIONS:
        return torch.float32
    return matmul_dtype(precision, device)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(flag, False) for flag in _CPU_FLAGS)


@contextmanager
def fast_matmul(device: torch.device = CPU) -> Iterator[None]:
    """Multiply float32 matrices with the library that is faster on this processor.

    torch uses MKL, which runs at half the speed of oneDNN on AMD processors. torch's setting
    belongs to the whole process and is restored afterwards. On a GPU the same setting would allow
    rounding, so there nothing is set.
    """
    before = torch.get_float32_matmul_precision()
    use_onednn = device.type == CPU.type and _onednn_is_better()
    torch.set_float32_matmul_precision("medium" if use_onednn else before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@cache
def _onednn_is_better() -> bool:
    """Decide by vendor and exactness, never by timing: one machine must always decide alike."""
    cpu = Path("/proc/cpuinfo")
    return cpu.exists() and "AuthenticAMD" in cpu.read_text("utf-8") and _onednn_is_exact()


def _onednn_is_exact() -> bool:
    """Return whether `medium`, which lets oneDNN round to bfloat16, does not round on this CPU."""
    draws = torch.Generator().manual_seed(0)
    left, right = torch.randn(2, 256, 256, generator=draws)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    product = left @ right
    torch.set_float32_matmul_precision(before)
    exact = left.double() @ right.double()
    return bool((product - exact).abs().max() / exact.abs().max() < _EXACT)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch's operations use `count` threads in this block, then as many as before.

    The setting belongs to the whole process; changing it costs a microsecond. A small operation
    takes less time than a second thread needs to wake up, and where another process is working it
    waits until that thread gets a core.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class BackgroundThread:
    """Run work in a second thread if there is a core for it, else at once in the caller's."""

    def __init__(self, cores: int) -> None:
        self._pool = ThreadPoolExecutor(1, "side") if cores > 1 else None

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Callable[[], Result]:  # noqa: ANN401
        """Start `work(*arguments)`; the returned function waits for it and returns its result."""
        if self._pool is not None:
            return self._pool.submit(work, *arguments).result
        result = work(*arguments)
        return lambda: result
