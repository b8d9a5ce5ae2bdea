"""Hidden units in place: ReLU with dropout, and the gradient's way back through both.

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


def activate(units: Tensor, kept: Tensor | None, scale: float) -> None:
    """Let ReLU and dropout work on `units` (rows, width): what is `kept` grows by `scale`.

    What is not a number stays so, as the loss must tell of it.
    """
    if kept is None:
        units.relu_()
    elif units.device.type != "cpu":
        units.relu_().mul_(kept).mul_(scale)
    elif units.dtype == torch.bfloat16:
        _activate_bits(_bits(units), kept.numpy(), np.float32(scale))
    else:
        values = units.numpy()
        _activate(values, kept.numpy(), values.dtype.type(scale))


def pass_back(gradient: Tensor, units: Tensor, scale: float) -> Tensor:
    """Turn the gradient of `activate`'s outcome into that of its input; returns its sum over rows.

    A unit is above 0 exactly where it was kept and ReLU let it through. The sums (width,) of
    bfloat16 are float32.
    """
    if gradient.device.type != "cpu":
        torch.ops.aten.threshold_backward(gradient, units, 0, grad_input=gradient)
        return gradient.mul_(scale).sum(0).float()
    if gradient.dtype == torch.bfloat16:
        sums = np.zeros(gradient.shape[1], np.float32)
        _pass_back_bits(_bits(gradient), _bits(units), np.float32(scale), sums)
    else:
        values = gradient.numpy()
        sums = np.zeros_like(values, shape=values.shape[1])
        _pass_back(values, units.numpy(), values.dtype.type(scale), sums)
    return torch.from_numpy(sums)


def _bits(tensor: Tensor) -> Bits:
    found: Bits = tensor.view(torch.uint16).numpy()
    return found


@njit(cache=True, nogil=True)
def _activate(units: Values, kept: Mask, scale: np.floating) -> None:
    for i in range(len(units)):
        row, keep = units[i], kept[i]
        for k in range(len(row)):
            row[k] = row[k] * scale if keep[k] & ~(row[k] <= 0) else type(scale)(0)


@njit(cache=True, nogil=True)
def _activate_bits(units: Bits, kept: Mask, scale: np.float32) -> None:
    wide = np.empty(units.shape[1], np.uint32)
    values = wide.view(np.float32)
    # A loop for each step, here and below: so the compiler makes each one of wide instructions.
    for i in range(len(units)):
        row, keep = units[i], kept[i]
        for k in range(len(row)):
            wide[k] = np.uint32(row[k]) << np.uint32(16)
        for k in range(len(row)):
            values[k] = values[k] * scale if keep[k] & ~(values[k] <= 0) else np.float32(0)
        _round(wide)
        for k in range(len(row)):
            row[k] = np.uint16(wide[k] >> np.uint32(16))


@njit(cache=True, nogil=True)
def _pass_back(gradient: Values, units: Values, scale: np.floating, sums: Values) -> None:
    for i in range(len(gradient)):
        row, unit = gradient[i], units[i]
        for k in range(len(row)):
            row[k] = type(scale)(0) if unit[k] <= 0 else row[k] * scale
            sums[k] += row[k]


@njit(cache=True, nogil=True)
def _pass_back_bits(gradient: Bits, units: Bits, scale: np.float32, sums: Values) -> None:
    wide = np.empty(gradient.shape[1], np.uint32)
    values = wide.view(np.float32)
    for i in range(len(gradient)):
        row, unit = gradient[i], units[i]
        for k in range(len(row)):
            # What ReLU gave is above 0 wherever a bit of it is set, but for the sign's.
            through = (unit[k] & np.uint16(0x7FFF)) != 0
            wide[k] = np.uint32(row[k] if through else np.uint16(0)) << np.uint32(16)
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
