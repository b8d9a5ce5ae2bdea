"""bfloat16 in compiled code, which has no such numbers: a float32's upper half, in a uint16.

numba compiles these functions into their callers, whose caches do not notice a change of them.
"""

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

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
