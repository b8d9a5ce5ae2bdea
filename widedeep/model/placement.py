"""Where tensors lie: with the processor, or on a GPU.

Random numbers are drawn by the processor wherever the rest is, so a seed means the same everywhere.
"""

import torch
from torch import Tensor

from widedeep.errors import InputError
from widedeep.model.device import Device

CPU = torch.device("cpu")


def device_of(wanted: Device) -> torch.device:
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


def compiled_for(tensor: Tensor) -> bool:
    """Whether our compiled loops can work on it; elsewhere torch's operations do the same."""
    return tensor.device.type == CPU.type
