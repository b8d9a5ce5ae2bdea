"""bfloat16 in compiled code, which has no such numbers: a float32's upper half, in a uint16.

numba compiles these functions into their callers, whose caches do not notice a change of them.

Hidden units: bias, ReLU and dropout in place, and the gradient's way back through them.

Each is one compiled pass on a processor; of torch's operations it takes three, on two threads still
the longer time.
"""

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from widedeep.model.compute import uses_compiled_kernels

Bits = NDArray[np.uint16]

_HALF = np.uint32(16)


def bits_of(tensor: Tensor) -> Bits:
    """The bits of a tensor of bfloat16: its own memory, as an array."""
    found: Bits = tensor.view(torch.uint16).numpy()
    return found


@njit(cache=True)
def number_of(bits: np.uint16) -> np.float32:
    """The number that the bits stand for, as float32."""
    return np.uint32(np.uint32(bits) << _HALF).view(np.float32)


@njit(cache=True)
def bits_near(number: np.float32) -> np.uint16:
    """The bits of the nearest number that bfloat16 has, of two equally near ones the even."""
    bits = np.float32(number).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> _HALF) & np.uint32(1))) >> _HALF)


Values = NDArray[np.floating]
Mask = NDArray[np.bool_]


def activate(units: Tensor, bias: Tensor, kept: Tensor | None, scale: float) -> None:
    """Let bias, ReLU and dropout work on `units` (rows, width): what is `kept` grows by `scale`.

    Bias is (width,), in float32 where the units are bfloat16. What is not a number stays so, as the
    loss must tell of it.
    """
    if not uses_compiled_kernels(units):
        units.add_(bias).relu_()
        if kept is not None:
            units.mul_(kept).mul_(scale)
        return
    mask = None if kept is None else kept.numpy()
    if units.dtype == torch.bfloat16:
        _activate_bits(bits_of(units), bias.numpy(), mask, np.float32(scale))
    else:
        values = units.numpy()
        _activate(values, bias.numpy(), mask, values.dtype.type(scale))


def pass_back(gradient: Tensor, units: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """From the gradient of `activate`'s outcome that of the units, and that of the bias.

    A unit is above 0 exactly where it was kept and ReLU let it through. The bias's gradient, of
    shape (width,), is float32 for units in bfloat16.
    """
    if not uses_compiled_kernels(gradient):
        found = torch.ops.aten.threshold_backward(gradient, units, 0).mul_(scale)
        return found, found.sum(0, dtype=torch.promote_types(found.dtype, torch.float32))
    found, given = torch.empty_like(units), gradient.contiguous()
    sums = units.new_zeros(units.shape[1], dtype=torch.promote_types(units.dtype, torch.float32))
    if units.dtype == torch.bfloat16:
        arrays = bits_of(given), bits_of(units), np.float32(scale)
        _pass_back_bits(*arrays, bits_of(found), sums.numpy())
    else:
        values = given.numpy()
        _pass_back(values, units.numpy(), values.dtype.type(scale), found.numpy(), sums.numpy())
    return found, sums


@njit(cache=True)
def _relu(value: np.floating) -> np.floating:
    return type(value)(0) if value <= 0 else value


@njit(cache=True, nogil=True)
def _activate(units: Values, bias: Values, kept: Mask | None, scale: np.floating) -> None:
    for i in range(len(units)):
        row = units[i]
        if kept is None:
            for k in range(len(row)):
                row[k] = _relu(row[k] + bias[k])
        else:
            for k in range(len(row)):
                row[k] = _relu(row[k] + bias[k]) * scale if kept[i, k] else type(scale)(0)


@njit(cache=True, nogil=True)
def _activate_bits(units: Bits, bias: Values, kept: Mask | None, scale: np.float32) -> None:
    for i in range(len(units)):
        row = units[i]
        if kept is None:
            for k in range(len(row)):
                row[k] = bits_near(_relu(number_of(row[k]) + bias[k]))
        else:
            for k in range(len(row)):
                value = _relu(number_of(row[k]) + bias[k]) * scale
                row[k] = bits_near(value) if kept[i, k] else np.uint16(0)


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
    for i in range(len(gradient)):
        given, unit, row = gradient[i], units[i], found[i]
        for k in range(len(row)):
            # What ReLU gave is above 0 wherever a bit of it is set, but for the sign's.
            through = (unit[k] & np.uint16(0x7FFF)) != 0
            row[k] = bits_near(number_of(given[k] if through else np.uint16(0)) * scale)
            sums[k] += number_of(row[k])
