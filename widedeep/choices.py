"""Choices that users write by name, as enums that do not need torch to be imported.

`Device` and `Precision` are resolved by `widedeep.model.compute`.
"""

from enum import StrEnum


class DataSetName(StrEnum):
    """A data set that is not a folder of the user's own, see `widedeep.data.source.resolve`."""

    AUTO = "auto"
    KMRD_SMALL = "kmrd-small"
    KMRD_2M = "kmrd-2m"
    KMRD_5M = "kmrd-5m"
    SIM = "sim"


class PresetName(StrEnum):
    """Settings of features, network and training; TUNED are those that the last search found."""

    DEFAULT = "default"
    PAPER = "paper"
    TUNED = "tuned"


class EngineName(StrEnum):
    """Where a run is computed: in this process, or on a Ray cluster."""

    LOCAL = "local"
    RAY = "ray"


class Device(StrEnum):
    """Where the tensors of a training are kept; AUTO takes a GPU if there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Precision(StrEnum):
    """The number format in which matrix products are computed; AUTO decides by their size."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class StartMode(StrEnum):
    """From which weights a training begins.

    Attributes:
        AUTO: Warm if there is a champion that a warm start may continue, else cold.
        WARM: From the champion's weights; an error if that is not possible.
        COLD: From new random weights.
    """

    AUTO = "auto"
    WARM = "warm"
    COLD = "cold"


class Publish(StrEnum):
    """Which model serves after a challenger has passed the gate.

    Attributes:
        CAUGHT_UP: The challenger after it has also learned the holdout's ratings, so that the
            holdout costs no freshness. The model that passed the gate is kept beside it: the next
            challenger starts from that one and is compared with it, because it has not seen the
            next holdout.
        AS_GATED: Exactly the model that was evaluated.
    """

    CAUGHT_UP = "caught-up"
    AS_GATED = "as-gated"
