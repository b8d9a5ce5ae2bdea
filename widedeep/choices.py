"""On what a model is trained: what a user may ask for (see `placement`).

In which numbers matrices are multiplied: what a user may ask for (see `products`).

What serves once a model has passed the gate.
"""

from enum import StrEnum


class Device(StrEnum):
    """Where the tensors of a training lie."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """In what matrix products are computed."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Publish(StrEnum):
    """The freshness that a holdout costs, paid or won back; the values are what users write.

    Attributes:
        CAUGHT_UP: The model learns the holdout's ratings, too, before it serves. What passed the
            gate is kept beside it: the next challenger starts from that one and is compared with
            it, because it has not seen the next holdout.
        AS_GATED: The very model that was judged.
    """

    CAUGHT_UP = "caught-up"
    AS_GATED = "as-gated"
