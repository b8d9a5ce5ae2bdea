"""Which settings a hyper-parameter search may choose, and between what.

Names are paths into a preset, as `training/ftrl/l1`. Features stay as they are: what is searched is
how the same encoded rows are learned.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from widedeep.errors import InputError
from widedeep.model.presets import Preset

Setting = float | int | str


@dataclass(frozen=True, slots=True)
class Range:
    """Any number from `low` to `high`; `log`: as likely between .01 and .1 as between .1 and 1."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    options: tuple[Setting, ...]


SPACE: Mapping[str, Range | Choice] = MappingProxyType(
    {
        "training/learning_rate": Range(0.002, 0.1, log=True),
        "training/id_rate": Range(0.01, 1.0, log=True),
        "training/ftrl/alpha": Range(0.001, 0.05, log=True),
        "training/ftrl/l1": Range(1.0, 100.0, log=True),
        "network/embedding": Choice((4, 8, 16, 32)),
        "network/number_embedding": Choice((0, 4, 8, 12)),
        "network/hidden": Choice(("64-32", "128-64", "256-128", "512-256")),
        "network/dropout": Range(0.0, 0.6),
        "network/id_dropout": Range(0.0, 0.9),
        "network/number_dropout": Range(0.0, 0.3),
    }
)


def settings_of(preset: Preset) -> dict[str, Setting]:
    """The preset's own values of everything in `SPACE`."""
    return {path: _written(_read(preset, path.split("/"))) for path in SPACE}


def with_settings(preset: Preset, settings: Mapping[str, Setting], name: str) -> Preset:
    """`preset` under another name with some settings of `SPACE` changed.

    Raises:
        InputError: A path is not in `SPACE`, or a value is out of range.
    """
    for path, value in settings.items():
        if path not in SPACE:
            raise InputError(f"setting {path!r} is not one of {', '.join(SPACE)}")
        preset = _changed(preset, path.split("/"), value)
    return replace(preset, name=name)


def _read(part: Any, path: list[str]) -> Any:  # noqa: ANN401  any part of a preset
    for name in path:
        part = getattr(part, name)
    return part


def _changed(part: Any, path: list[str], value: Setting) -> Any:  # noqa: ANN401  likewise
    name, *rest = path
    old = getattr(part, name)
    new = _changed(old, rest, value) if rest else _parsed(value, old)
    return replace(part, **{name: new})


def _written(value: Any) -> Setting:  # noqa: ANN401  a setting's value
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def _parsed(value: Setting, old: object) -> object:
    """A value as the setting wants it: widths are written as `256-128`."""
    if not isinstance(old, tuple):
        return value
    try:
        return tuple(int(width) for width in str(value).split("-"))
    except ValueError as error:
        raise InputError(f"hidden is {value!r}; widths as in 256-128 are wanted") from error
