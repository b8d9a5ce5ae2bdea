"""What serves once a model has passed the gate."""

from enum import StrEnum


class Publication(StrEnum):
    """The freshness that a holdout costs, paid or won back; the values are what users write.

    Attributes:
        CAUGHT_UP: The model learns the holdout's ratings, too, before it serves. What passed the
            gate is kept beside it: the next challenger starts from that one and is compared with
            it, because it has not seen the next holdout.
        AS_GATED: The very model that was judged.
    """

    CAUGHT_UP = "caught-up"
    AS_GATED = "as-gated"
