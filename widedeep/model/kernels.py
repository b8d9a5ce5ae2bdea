"""Compiled loops over hidden units, in float32, float64 and bfloat16.

`activate` applies bias, ReLU and dropout in place; `activate_backward` passes a gradient back
through them. Each is one compiled pass on a CPU. Of torch's operations it takes three, which is
slower even on two threads. On a GPU torch's operations are used.

numba has no bfloat16, so such numbers are handled by their bits: the upper half of a float32, in a
uint16.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from widedeep.compiled import compiled
from widedeep.model.compute import uses_compiled_kernels

Bits = NDArray[np.uint16]
Values = NDArray[np.floating]
Mask = NDArray[np.bool_]

_HALF = np.uint32(16)


def bfloat16_bits(tensor: Tensor) -> Bits:
    """Return the bits of a bfloat16 tensor as a uint16 array that shares its memory."""
    bits: Bits = tensor.view(torch.uint16).numpy()
    return bits


@compiled
def float32_from_bits(bits: np.uint16) -> np.float32:
    """Return the float32 equal to the bfloat16 with these `bits`."""
    return np.uint32(np.uint32(bits) << _HALF).view(np.float32)


@compiled
def bits_from_float32(number: np.float32) -> np.uint16:
    """Return the bits of the bfloat16 nearest to `number`; a tie goes to the even one."""
    bits = np.float32(number).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> _HALF) & np.uint32(1))) >> _HALF)


def activate(units: Tensor, bias: Tensor, mask: Tensor | None, scale: float) -> None:
    """Apply bias, ReLU and dropout to `units` in place.

    NaNs are propagated, so that a diverged loss is detected.

    Args:
        units: Float (rows, width).
        bias: Float (width,); float32 if the units are bfloat16.
        mask: Bool (rows, width), False where a unit is dropped; None if all are kept.
        scale: Factor for the units that are kept.
    """
    if not uses_compiled_kernels(units):
        units.add_(bias).relu_()
        if mask is not None:
            units.mul_(mask).mul_(scale)
        return
    keep_mask = None if mask is None else mask.numpy()
    if units.dtype == torch.bfloat16:
        _activate_bits(bfloat16_bits(units), bias.numpy(), keep_mask, np.float32(scale))
    else:
        values = units.numpy()
        _activate(values, bias.numpy(), keep_mask, values.dtype.type(scale))


def activate_backward(gradient: Tensor, units: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the gradients of the units and of the bias, given that of `activate`'s result.

    Args:
        gradient: Float (rows, width), with respect to the activated units.
        units: Float (rows, width), as `activate` left them. A unit is above 0 exactly where it was
            kept and ReLU let it through.
        scale: As given to `activate`.

    Returns:
        Gradient of the units before `activate`, (rows, width), in their dtype; gradient of the
        bias, (width,), float32 if the units are bfloat16.
    """
    if not uses_compiled_kernels(gradient):
        before = torch.ops.aten.threshold_backward(gradient, units, 0).mul_(scale)
        return before, before.sum(0, dtype=torch.promote_types(before.dtype, torch.float32))
    before, after = torch.empty_like(units), gradient.contiguous()
    sums = units.new_zeros(units.shape[1], dtype=torch.promote_types(units.dtype, torch.float32))
    if units.dtype == torch.bfloat16:
        arrays = bfloat16_bits(after), bfloat16_bits(units), np.float32(scale)
        _backward_bits(*arrays, bfloat16_bits(before), sums.numpy())
    else:
        values = after.numpy()
        _backward(values, units.numpy(), values.dtype.type(scale), before.numpy(), sums.numpy())
    return before, sums


@compiled
def _relu(value: np.floating) -> np.floating:
    return type(value)(0) if value <= 0 else value


@compiled
def _activate(units: Values, bias: Values, keep_mask: Mask | None, scale: np.floating) -> None:
    for i in range(len(units)):
        row = units[i]
        if keep_mask is None:
            for k in range(len(row)):
                row[k] = _relu(row[k] + bias[k])
        else:
            for k in range(len(row)):
                row[k] = _relu(row[k] + bias[k]) * scale if keep_mask[i, k] else type(scale)(0)


@compiled
def _activate_bits(units: Bits, bias: Values, keep_mask: Mask | None, scale: np.float32) -> None:
    for i in range(len(units)):
        row = units[i]
        if keep_mask is None:
            for k in range(len(row)):
                row[k] = bits_from_float32(_relu(float32_from_bits(row[k]) + bias[k]))
        else:
            for k in range(len(row)):
                value = _relu(float32_from_bits(row[k]) + bias[k]) * scale
                row[k] = bits_from_float32(value) if keep_mask[i, k] else np.uint16(0)


@compiled
def _backward(
    gradient: Values, units: Values, scale: np.floating, before: Values, sums: Values
) -> None:
    for i in range(len(gradient)):
        after, unit, row = gradient[i], units[i], before[i]
        for k in range(len(row)):
            row[k] = type(scale)(0) if unit[k] <= 0 else after[k] * scale
            sums[k] += row[k]


@compiled
def _backward_bits(
    gradient: Bits, units: Bits, scale: np.float32, before: Bits, sums: Values
) -> None:
    for i in range(len(gradient)):
        after, unit, row = gradient[i], units[i], before[i]
        for k in range(len(row)):
            # What ReLU returned is above 0 exactly if a bit other than the sign bit is set.
            through = (unit[k] & np.uint16(0x7FFF)) != 0
            row[k] = bits_from_float32(
                float32_from_bits(after[k] if through else np.uint16(0)) * scale
            )
            sums[k] += float32_from_bits(row[k])
