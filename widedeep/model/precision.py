"""In which numbers matrices are multiplied: what a user may ask for (see `products`)."""

from enum import StrEnum


class Precision(StrEnum):
    """In what matrix products are computed."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
