"""What an ablation leaves out of a model, and the slices of the holdout it is measured on.

`all_variants` lists the variants. Each is the default preset with one thing changed, and is
compared with the variant it is made from: without the wide or the deep part, without the memory of
liked items, without returning users, without history features, with another L1.

`slice_holdout` marks the rows on which memorisation should pay, by what was known of user and item.
One of the slices has the exceptions that the simulator planted: a user who liked one item rates
another one against the user's usual preference.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.dataset import DatasetSpec
from widedeep.data.ids import id_key
from widedeep.data.simulator.write import MARKER
from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import Masks, slice_masks
from widedeep.features import (
    PROTOCOLS,
    Cross,
    FeatureSpec,
    FeatureTables,
    Queries,
    RawFeatures,
    RowSelection,
    Transform,
    queries_by_protocol,
    wide_blocks,
)
from widedeep.inputs import InputError
from widedeep.model.presets import Preset, get_preset, with_user_id

FULL = "wide & deep"
RAW_FULL = "raw: wide & deep"
_L1_FACTORS = (0.0, 0.1, 1.0, 10.0)

_RATED_BAGS = {"liked", "disliked"}
_RAW = (
    "ids, attributes of items, liked and disliked items and their crosses, as in the paper; no "
    "number or bucket"
)
# The default's learning rates suit its numbers: without them the deep part has its best epoch
# before the wide one has learned. Of 9 pairs tried on KMRD-small before 2009 and 5 on 10,000
# simulated ratings (validation loss), the wide part's rate x 4 and the deep one's x 0.4 leave no
# part far from its own best: wide & deep .5717 and .5956 (.5775 and .6055 with the default's), wide
# only .5667 and .5963, deep only .5786 and .6132 (its best .5773 and .6116). A deep rate x 0.2
# has wide & deep at .5685 on KMRD, but leaves deep only untrained on little data.
_RAW_WIDE_RATE, _RAW_DEEP_RATE = 4.0, 0.4


@dataclass(frozen=True, slots=True)
class Variant:
    """A model of the ablation.

    Attributes:
        name: Name in reports and on the command line.
        sentence: How it differs from the variant it is compared with.
        preset: Settings of features, network and training.
        against: Name of the variant it is compared with, if any.
        l1_factor: Its L1 as a multiple of the default's, if it is a point of the sparsity curve.
    """

    name: str
    sentence: str
    preset: Preset
    against: str | None = FULL
    l1_factor: float | None = None

    @property
    def rows(self) -> RowSelection:
        """Return which ratings it learns from."""
        return self.preset.sampling.rows

    def as_json(self) -> dict[str, Any]:
        """Return its description as JSON values, without the preset."""
        names = ("name", "sentence", "against", "l1_factor")
        return {name: getattr(self, name) for name in names} | {"rows": str(self.rows)}


def all_variants(spec: DatasetSpec) -> tuple[Variant, ...]:
    """Return all variants on a data set; each comes after the one it is compared with."""
    base = get_preset("default", spec)
    raw = _without_numbers_and_buckets(base)
    return (
        Variant(FULL, "the default preset", base, against=None, l1_factor=1.0),
        *_single_parts(base, FULL),
        Variant(
            "no liked x item",
            "no cross of a liked or disliked item with the candidate",
            replace(base, features=_without_liked_crosses(base.features)),
        ),
        Variant(
            "no returning users",
            "trained on interactions of users who had none before",
            replace(base, sampling=replace(base.sampling, rows=RowSelection.NEW_USERS)),
        ),
        Variant(
            "paper preset", "the towers and embeddings of the paper", get_preset("paper", spec)
        ),
        *_other_l1(base),
        Variant(RAW_FULL, _RAW, raw, against=None),
        *_single_parts(raw, RAW_FULL, "raw: "),
    )


def select_variants(spec: DatasetSpec, names: Iterable[str] | None) -> tuple[Variant, ...]:
    """Return the named variants and those they are compared with (always `FULL`); None: all.

    Raises:
        InputError: there is no variant of a name, or none that is compared with another.
    """
    variants = all_variants(spec)
    if names is None:
        return variants
    by_name = {variant.name: variant for variant in variants}
    chosen = {FULL}
    for name in names:
        if name not in by_name:
            raise InputError(f"there is no variant {name!r}; expected any of: {', '.join(by_name)}")
        chosen |= {name, by_name[name].against or FULL}
    selected = tuple(variant for variant in variants if variant.name in chosen)
    if all(variant.against is None for variant in selected):
        raise InputError(
            f"nothing to compare: {', '.join(variant.name for variant in selected)}; expected at "
            "least one variant that is compared with another"
        )
    return selected


def _without_liked_crosses(spec: FeatureSpec) -> FeatureSpec:
    """Return `spec` without the crosses that a liked or disliked item is part of."""
    return replace(spec, crosses=_crosses_without(_RATED_BAGS, spec))


def _without_numbers(spec: FeatureSpec) -> FeatureSpec:
    """Return `spec` without numbers and buckets, and without what is made of them.

    The wide part reads the bags of liked and disliked items in their place: without both, its only
    information on a user would be the crosses that are left.
    """
    buckets = {bucket.name for bucket in spec.buckets}
    rated = [bag.name for bag in spec.bags if bag.name in _RATED_BAGS]
    wide = tuple(name for name in dict.fromkeys([*spec.wide, *rated]) if name not in buckets)
    return replace(
        spec,
        numbers=(),
        buckets=(),
        crosses=_crosses_without(buckets, spec),
        wide=wide,
        prior_logit=None,
    )


def _crosses_without(parts: set[str], spec: FeatureSpec) -> tuple[Cross, ...]:
    return tuple(cross for cross in spec.crosses if not parts & set(cross.parts))


def _without_numbers_and_buckets(base: Preset) -> Preset:
    training = base.training
    ftrl = replace(training.ftrl, alpha=_RAW_WIDE_RATE * training.ftrl.alpha)
    rate = _RAW_DEEP_RATE * training.learning_rate
    return replace(
        base,
        features=with_user_id(_without_numbers(base.features)),
        training=replace(training, learning_rate=rate, ftrl=ftrl),
    )


def _single_parts(base: Preset, full: str, prefix: str = "") -> tuple[Variant, ...]:
    """Return the wide part alone and the deep part alone."""
    network = base.network
    return (
        Variant(
            f"{prefix}wide only",
            "no embeddings and no layers",
            replace(base, network=replace(network, deep=False)),
            against=full,
        ),
        Variant(
            f"{prefix}deep only",
            "no wide weights",
            replace(base, network=replace(network, wide=False)),
            against=full,
        ),
    )


def _other_l1(base: Preset) -> Iterable[Variant]:
    """Yield the points of the sparsity curve besides the default itself."""
    for factor in _L1_FACTORS:
        if factor != 1:
            ftrl = replace(base.training.ftrl, l1=factor * base.training.ftrl.l1)
            training = replace(base.training, ftrl=ftrl)
            sentence = f"an L1 of {ftrl.l1:g} instead of {base.training.ftrl.l1:g}"
            changed = replace(base, training=training)
            yield Variant(f"L1 x {factor:g}", sentence, changed, l1_factor=factor)


NEW_USERS = "new users"
RETURNING_USERS = "returning users"
REMEMBERED_PAIRS = "remembered pairs"
PLANTED_EXCEPTIONS = "planted exceptions"

Pairs = Sequence[tuple[int, int]]
"""Keys of the liked item and of the candidate."""

_MEMORY = {"liked", "item"}


def slice_holdout(
    interactions: Interactions,
    tables: FeatureTables,
    split: Split,
    transform: Transform,
    planted: Pairs,
) -> dict[str, Masks]:
    """Mark the n holdout rows of each slice, as bool masks (n,) by protocol.

    New and returning users are the same rows in both protocols: whether the user has an earlier
    rating. The other slices are marked by what the protocol knows. Remembered pairs are rows where
    an item in the user's liked history makes a kept cross with the candidate. Planted exceptions
    (absent if `planted` is empty) are rows where the user liked the first item of a planted pair
    and the candidate is the second.
    """
    by_user = slice_masks(interactions, split)
    queries = queries_by_protocol(
        interactions, split.holdout(interactions.time), split.holdout_from
    )
    slices: dict[str, Masks] = {
        NEW_USERS: dict.fromkeys(PROTOCOLS, by_user["new_user"]),
        RETURNING_USERS: dict.fromkeys(PROTOCOLS, by_user["returning_user"]),
        REMEMBERED_PAIRS: {
            protocol: remembered_pair_rows(
                transform, transform.compute_features(interactions, part, tables)
            )
            for protocol, part in queries.items()
        },
    }
    if planted:
        slices[PLANTED_EXCEPTIONS] = {
            protocol: planted_pair_applies(planted, interactions, part)
            for protocol, part in queries.items()
        }
    return slices


def remembered_pair_rows(transform: Transform, rows: RawFeatures) -> NDArray[np.bool_]:
    """Mark the rows that fire at least one cross of a liked item with the candidate, bool (n,)."""
    wide = transform.wide_ids(rows)
    remembered = np.zeros(len(rows), bool)
    for block in wide_blocks(transform):
        if set(block.features) == _MEMORY:
            fired = wide.values  # noqa: PD011  a Ragged, not pandas
            inside = (fired >= block.wide_ids.start) & (fired < block.wide_ids.stop)
            remembered[wide.row_numbers()[inside]] = True
    return remembered


def read_planted_pairs(folder: Path) -> list[tuple[int, int]]:
    """Read the pairs that the simulator planted in a data folder; real data have none."""
    marker = folder / MARKER
    if not marker.exists():
        return []
    exceptions = json.loads(marker.read_text(encoding="utf-8"))["exceptions"]
    return [(id_key(pair["liked"]), id_key(pair["candidate"])) for pair in exceptions]


def planted_pair_applies(
    planted: Pairs, interactions: Interactions, queries: Queries
) -> NDArray[np.bool_]:
    """Mark queries for the second item of a pair whose first the user is known to like, bool (n,).

    An interaction is known if it is earlier than the query's `known_until`.
    """
    applies = np.zeros(len(queries), bool)
    for liked, candidate in planted:
        likes = (interactions.item == liked) & interactions.label
        first_like = pd.Series(interactions.time[likes]).groupby(interactions.user[likes]).min()
        liked_at = first_like.reindex(queries.user).to_numpy()
        applies |= (queries.item == candidate) & (liked_at < queries.known_until)
    return applies
