"""Named settings of features, network and training.

Which settings a hyper-parameter search may choose, and between what.

Names are paths into a preset, as `training/ftrl/l1`. Features stay as they are: what is searched is
how the same encoded rows are learned.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from widedeep.choices import Device, Precision
from widedeep.features.history_state import NUMERIC
from widedeep.features.raw_features import ITEM_AGE
from widedeep.features.sampling import Sampling
from widedeep.features.spec import Bag, Bucket, Category, Cross, FeatureSpec, Number
from widedeep.inputs import InputError
from widedeep.model.ftrl import FtrlConfig
from widedeep.model.network import NetworkConfig
from widedeep.model.trainer import TrainingConfig


@dataclass(frozen=True, slots=True)
class Preset:
    """Everything that makes a model out of the same ratings."""

    name: str
    features: FeatureSpec
    sampling: Sampling
    network: NetworkConfig
    training: TrainingConfig

    def multiplied_in(self, precision: Precision) -> "Preset":
        """The same settings, trained in another precision."""
        return replace(self, training=replace(self.training, precision=precision))

    def trained_on(self, device: Device) -> "Preset":
        """The same settings, trained elsewhere."""
        return replace(self, training=replace(self.training, device=device))

    def as_json(self) -> dict[str, Any]:
        """JSON values, for keys and records."""
        return asdict(self)


# What a user's id could tell, history tells better, and of new users, too: with the id, validation
# loss is .0005 higher (mean of both protocols, 2 seeds).
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
    offset="expected_logit",
)


def with_user_id(spec: FeatureSpec) -> FeatureSpec:
    """`spec` with the user's id as one more category."""
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


def preset(name: str) -> Preset:
    """Look up a preset; InputError lists those there are."""
    if name not in PRESETS:
        raise InputError(f"no preset {name!r}; there are {sorted(PRESETS)}")
    return PRESETS[name]


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
