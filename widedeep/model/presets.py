"""Presets: named settings of features, network and training, and what of them a search may change.

`get_preset` returns one of `PRESETS`. `SEARCH_SPACE` holds the settings of a hyper-parameter search
by their path in a preset, as `training/ftrl/l1`. Features are not searched: a search varies how the
same encoded rows are learned.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from widedeep.features import NUMERIC, Bag, Bucket, Category, Cross, FeatureSpec, Number, Sampling
from widedeep.features.raw_features import ITEM_AGE
from widedeep.inputs import Device, InputError, Precision
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import NetworkConfig
from widedeep.model.trainer import TrainingConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """All settings of a model; with the same interactions and seed they determine it."""

    name: str
    features: FeatureSpec
    sampling: Sampling
    network: NetworkConfig
    training: TrainingConfig

    def with_precision(self, precision: Precision) -> "Preset":
        """Return the same settings with another precision of training."""
        return replace(self, training=replace(self.training, precision=precision))

    def with_device(self, device: Device) -> "Preset":
        """Return the same settings with another device of training."""
        return replace(self, training=replace(self.training, device=device))

    def as_json(self) -> dict[str, Any]:
        """Return the settings as JSON values, for artefact keys and records."""
        return asdict(self)


# There is no user id: history carries the same information better, and for new users as well. With
# the id, validation loss is .0005 higher (mean of both protocols, 2 seeds).
_FEATURES = FeatureSpec(
    categories=(Category("item"), Category("grade")),
    bags=(
        Bag("genres"),
        Bag("countries"),
        Bag("leading"),
        Bag("liked", vocabulary_of="item"),
        Bag("disliked", vocabulary_of="item"),
    ),
    numbers=tuple(Number(name) for name in (*NUMERIC, ITEM_AGE)),
    buckets=(
        Bucket("expected_logit"),
        Bucket("mean_plus_residual"),
        Bucket("user_count", 8),
        Bucket("user_fast", 8),
        Bucket("item_short_mean", 8),
    ),
    crosses=(
        Cross(("liked", "item")),
        Cross(("disliked", "item")),
        Cross(("genres", "grade")),
        Cross(("expected_logit_bucket", "user_count_bucket")),
        Cross(("expected_logit_bucket", "user_fast_bucket")),
        Cross(("mean_plus_residual_bucket", "user_fast_bucket")),
    ),
    wide=(
        "item",
        "grade",
        "genres",
        "countries",
        "leading",
        "expected_logit_bucket",
        "mean_plus_residual_bucket",
        "user_count_bucket",
        "user_fast_bucket",
        "item_short_mean_bucket",
    ),
    prior_logit="expected_logit",
)


def with_user_id(spec: FeatureSpec) -> FeatureSpec:
    """Return `spec` with the user's id as one more category."""
    return replace(spec, categories=(Category("user"), *spec.categories))


PRESETS = {
    "default": Preset(
        "default",
        _FEATURES,
        Sampling(replay=3.0),
        NetworkConfig(
            embedding=8,
            hidden=(256, 128),
            dropout=0.2,
            id_dropout=0.7,
            number_dropout=0.1,
            number_embedding=12,
        ),
        TrainingConfig(
            epochs=8,
            patience=3,
            catch_up_epochs=4,
            catch_up_rate=2.0,
            learning_rate=0.03,
            id_rate=0.1,
            ftrl=FtrlConfig(alpha=0.005, l1=10.0),
        ),
    ),
    "paper": Preset(
        "paper",
        with_user_id(_FEATURES),
        Sampling(),
        NetworkConfig(),
        TrainingConfig(learning_rate=0.002, ftrl=FtrlConfig(alpha=0.005, l1=10.0)),
    ),
}


def get_preset(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        InputError: There is no such preset; the message lists all names.
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; expected one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]


Setting = float | int | str
"""A setting's value as a search and its records hold it; widths are text, as `256-128`."""


@dataclass(frozen=True, slots=True)
class Range:
    """A number from `low` to `high`; with `log` as likely in [.01, .1] as in [.1, 1]."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few values, whose order has no meaning."""

    options: tuple[Setting, ...]


SEARCH_SPACE: Mapping[str, Range | Choice] = MappingProxyType(
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


def searchable_settings(preset: Preset) -> dict[str, Setting]:
    """Return the preset's own value of every setting in `SEARCH_SPACE`, by path."""
    return {path: _to_setting(_read(preset, path.split("/"))) for path in SEARCH_SPACE}


def with_settings(preset: Preset, settings: Mapping[str, Setting], name: str) -> Preset:
    """Return `preset` under another name with some settings of `SEARCH_SPACE` changed.

    Raises:
        InputError: A path is not in `SEARCH_SPACE`, or a value is out of range.
    """
    for path, value in settings.items():
        if path not in SEARCH_SPACE:
            raise InputError(f"unknown setting {path!r}; expected one of {', '.join(SEARCH_SPACE)}")
        preset = _replace(preset, path.split("/"), value)
    return replace(preset, name=name)


def _read(part: Any, path: list[str]) -> Any:  # noqa: ANN401  any part of a preset
    for name in path:
        part = getattr(part, name)
    return part


def _replace(part: Any, path: list[str], value: Setting) -> Any:  # noqa: ANN401  likewise
    name, *rest = path
    old = getattr(part, name)
    new = _replace(old, rest, value) if rest else _from_setting(value, old)
    return replace(part, **{name: new})


def _to_setting(value: Any) -> Setting:  # noqa: ANN401  a setting's value
    return "-".join(map(str, value)) if isinstance(value, tuple) else value


def _from_setting(value: Setting, old: object) -> object:
    """Return the value in the type of the `old` one: widths written as `256-128` as a tuple."""
    if not isinstance(old, tuple):
        return value
    try:
        return tuple(int(width) for width in str(value).split("-"))
    except ValueError as error:
        raise InputError(f"hidden is {value!r}; expected widths as in 256-128") from error
