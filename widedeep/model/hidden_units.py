"""Hidden units: bias, ReLU and dropout in place, and the gradient's way back through them.

Each is one compiled pass on a processor; of torch's operations it takes three, on two threads still
the longer time.
"""

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

Values = NDArray[np.floating]
Bits = NDArray[np.uint16]
"""Of bfloat16."""
Mask = NDArray[np.bool_]


def activate(units: Tensor, bias: Tensor, kept: Tensor | None, scale: float) -> None:
    """Let bias, ReLU and dropout work on `units` (rows, width): what is `kept` grows by `scale`.

    Bias is (width,), in float32 where the units are bfloat16. What is not a number stays so, as the
    loss must tell of it.
    """
    if units.device.type != "cpu":
        units.add_(bias).relu_()
        if kept is not None:
            units.mul_(kept).mul_(scale)
        return
    mask = None if kept is None else kept.numpy()
    if units.dtype == torch.bfloat16:
        _activate_bits(_bits(units), bias.numpy(), mask, np.float32(scale))
    else:
        values = units.numpy()
        _activate(values, bias.numpy(), mask, values.dtype.type(scale))


def pass_back(gradient: Tensor, units: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """From the gradient of `activate`'s outcome that of the units, and that of the bias.

    A unit is above 0 exactly where it was kept and ReLU let it through. The bias's gradient, of
    shape (width,), is float32 for units in bfloat16.
    """
    if gradient.device.type != "cpu":
        found = torch.ops.aten.threshold_backward(gradient, units, 0).mul_(scale)
        return found, found.sum(0, dtype=torch.promote_types(found.dtype, torch.float32))
    found, given = torch.empty_like(units), gradient.contiguous()
    sums = units.new_zeros(units.shape[1], dtype=torch.promote_types(units.dtype, torch.float32))
    if units.dtype == torch.bfloat16:
        arrays = _bits(given), _bits(units), np.float32(scale)
        _pass_back_bits(*arrays, _bits(found), sums.numpy())
    else:
        values = given.numpy()
        _pass_back(values, units.numpy(), values.dtype.type(scale), found.numpy(), sums.numpy())
    return found, sums


def _bits(tensor: Tensor) -> Bits:
    found: Bits = tensor.view(torch.uint16).numpy()
    return found


@njit(cache=True, nogil=True)
def _activate(units: Values, bias: Values, kept: Mask | None, scale: np.floating) -> None:
    for i in range(len(units)):
        row = units[i]
        for k in range(len(row)):
            row[k] += bias[k]
        _let_through(row, kept, i, scale)


@njit(cache=True, nogil=True)
def _activate_bits(units: Bits, bias: Values, kept: Mask | None, scale: np.float32) -> None:
    wide = np.empty(units.shape[1], np.uint32)
    values = wide.view(np.float32)
    # A loop for each step, here and below: so the compiler makes each one of wide instructions.
    for i in range(len(units)):
        row = units[i]
        for k in range(len(row)):
            wide[k] = np.uint32(row[k]) << np.uint32(16)
        for k in range(len(row)):
            values[k] += bias[k]
        _let_through(values, kept, i, scale)
        _round(wide)
        for k in range(len(row)):
            row[k] = np.uint16(wide[k] >> np.uint32(16))


@njit(cache=True, nogil=True)
def _let_through(values: Values, kept: Mask | None, i: int, scale: np.floating) -> None:
    """ReLU and dropout of row i."""
    if kept is None:
        for k in range(len(values)):
            values[k] = type(scale)(0) if values[k] <= 0 else values[k]
    else:
        keep = kept[i]
        for k in range(len(values)):
            passed = keep[k] & ~(values[k] <= 0)
            values[k] = values[k] * scale if passed else type(scale)(0)


@njit(cache=True, nogil=True)
def _pass_back(
    gradient: Values, units: Values, scale: np.floating, found: Values, sums: Values
) -> None:
    for i in range(len(gradient)):
        given, unit, row = gradient[i], units[i], found[i]
        for k in range(len(row)):
            row[k] = type(scale)(0) if unit[k] <= 0 else given[k] * scale
            sums[k] += row[k]


@njit(cache=True, nogil=True)
def _pass_back_bits(
    gradient: Bits, units: Bits, scale: np.float32, found: Bits, sums: Values
) -> None:
    wide = np.empty(gradient.shape[1], np.uint32)
    values = wide.view(np.float32)
    for i in range(len(gradient)):
        given, unit, row = gradient[i], units[i], found[i]
        for k in range(len(row)):
            # What ReLU gave is above 0 wherever a bit of it is set, but for the sign's.
            through = (unit[k] & np.uint16(0x7FFF)) != 0
            wide[k] = np.uint32(given[k] if through else np.uint16(0)) << np.uint32(16)
        for k in range(len(row)):
            values[k] *= scale
        _round(wide)
        for k in range(len(row)):
            sums[k] += values[k]
        for k in range(len(row)):
            row[k] = np.uint16(wide[k] >> np.uint32(16))


@njit(cache=True, nogil=True)
def _round(wide: Any) -> None:  # noqa: ANN401  numba's own types
    """Bits of float32 to the nearest that bfloat16 has, of two equally near ones the even."""
    for k in range(len(wide)):
        even = (wide[k] >> np.uint32(16)) & np.uint32(1)
        wide[k] = (wide[k] + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)
