"""What users write (choices, moments), and the error they see when it is wrong.

`InputError` is raised for every mistake that a user can correct. `parse_time` and `to_iso` convert
between the moments that users write (ISO-8601 or UNIX seconds, always UTC) and UNIX seconds;
`Moment` is the type of such a moment, from the command line to the split. `choose_model` decides
which registered model a command means, and `close_name` suggests a name for a misspelt one.

The choices that users write by name are enums here, so that reading them does not need torch;
`widedeep.model.compute` resolves `Device` and `Precision`.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, ValidationInfo, WithJsonSchema


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


class InputError(ValueError):
    """A setting, a file or an argument is wrong; the message says what was found and expected.

    The command line prints the message and ends with exit status 2. Nothing has been changed by
    the time this is raised.
    """


def parse_time(text: str, name: str) -> int:
    """Return the moment that `text` stands for, in UNIX seconds.

    Text of digits alone is always UNIX seconds, so a date has to be written with its dashes.

    Args:
        text: ISO-8601 (UTC if it names no time zone) or UNIX seconds.
        name: What the moment is for, for the error message, e.g. "--as-of".

    Raises:
        InputError: The text is neither.
    """
    try:
        seconds = _parse_seconds(text.strip())
        to_iso(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise InputError(
            f"{name} is {text!r}; expected ISO-8601 (2018-07-01 or 2018-07-01T12:00:00Z) "
            "or UNIX seconds"
        ) from error
    return seconds


def to_iso(seconds: int) -> str:
    """Return UNIX seconds as ISO-8601, e.g. 2018-07-01T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _to_seconds(value: object, info: ValidationInfo) -> object:
    """Return what a user wrote for a field of type `Moment` in UNIX seconds."""
    if isinstance(value, datetime):
        value = value.isoformat()
    return parse_time(value, info.field_name or "the moment") if isinstance(value, str) else value


Moment = Annotated[
    int,
    BeforeValidator(_to_seconds),
    PlainSerializer(to_iso, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""UNIX seconds. A pydantic field of this type accepts ISO-8601 text (UTC if it names no time zone),
UNIX seconds as text or number, and a datetime. In JSON it is ISO-8601, which forms show as a date.
"""


def choose_model(models: Sequence[str], name: str | None) -> str:
    """Return the model called `name`, or the only one of `models` (at least one) if it is None.

    Raises:
        InputError: There is no model of that name, or there are several and none is named.
    """
    if name is None and len(models) > 1:
        raise InputError(f"there are several models; name one by --model: {', '.join(models)}")
    if name is not None and name not in models:
        raise InputError(f"no model {name!r}; there are: {', '.join(models)}")
    return name or models[0]


def _parse_seconds(text: str) -> int:
    if text.isdecimal():
        return int(text)
    moment = datetime.fromisoformat(text)
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp())


def close_name(name: str, names: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the most similar of `names`, or nothing."""
    matches = get_close_matches(name, list(names), 1, cutoff=0.5)
    return f"; did you mean {matches[0]!r}?" if matches else ""
