"""On what a model is trained: what a user may ask for (see `placement`)."""

from enum import StrEnum


class Device(StrEnum):
    """Where the tensors of a training lie."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
