"""What is left out of a model to see what it was worth: the variants of an ablation.

Each is the default preset with one thing changed, and is compared with the variant it was made
from: the halves of Wide & Deep, its memory of liked items, its returning users, its history
features, its L1.

The exceptions planted in simulated ratings: who liked one item rates another against taste.

Where memorisation should pay: parts of the holdout by what was known of user and item.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from widedeep.data.simulator.interactions import POSITIVE
from widedeep.data.simulator.write import MARKER
from widedeep.data.split import Split
from widedeep.data.tables import Interactions
from widedeep.evaluation.scoring import slices
from widedeep.features.history import Queries
from widedeep.features.items import ItemTable
from widedeep.features.raw_features import RawFeatures
from widedeep.features.sampling import RowSelection
from widedeep.features.spec import Cross, FeatureSpec
from widedeep.features.training_data import PROTOCOLS, queries_by_protocol
from widedeep.features.transform import Transform
from widedeep.features.wide_ids import wide_blocks
from widedeep.inputs import InputError
from widedeep.model.presets import Preset, preset, with_user_id

FULL = "wide & deep"
RAW_FULL = "raw: wide & deep"
L1_FACTORS = (0.0, 0.1, 1.0, 10.0)

_TASTE = {"liked", "disliked"}
_RAW = (
    "ids, attributes of films, liked and disliked films and their crosses, as in the paper; no "
    "number or bucket"
)
# The default's rates suit its numbers: without them the deep part has its best epoch before the
# wide one has learned. Of 9 pairs tried on KMRD-small before 2009 and 5 on 10,000 simulated ratings
# (validation loss), the wide part's rate x 4 and the deep one's x 0.4 leave no half far from its
# own best: wide & deep .5717 and .5956 (.5775 and .6055 with the default's), wide only .5667 and
# .5963, deep only .5786 and .6132 (its best .5773 and .6116). A deep rate x 0.2 gives wide & deep
# .5685 on KMRD, but leaves deep only untrained on little data.
_RAW_WIDE_RATE, _RAW_DEEP_RATE = 4.0, 0.4


@dataclass(frozen=True, slots=True)
class Variant:
    """A model of the ablation. `against` names the variant it is compared with, if any.

    `sentence` says what differs from that. `l1_factor` makes it a point of the sparsity curve.
    """

    name: str
    sentence: str
    preset: Preset
    against: str | None = FULL
    l1_factor: float | None = None

    @property
    def rows(self) -> RowSelection:
        """Which ratings it learns from."""
        return self.preset.sampling.rows

    def as_json(self) -> dict[str, Any]:
        """What people are told of it."""
        names = ("name", "sentence", "against", "l1_factor")
        return {name: getattr(self, name) for name in names} | {"rows": str(self.rows)}


def all_variants() -> tuple[Variant, ...]:
    """All variants; one that others are compared with stands before them."""
    base = preset("default")
    raw = _raw(base)
    return (
        Variant(FULL, "the default preset", base, against=None, l1_factor=1.0),
        *_halves(base, FULL),
        Variant(
            "no liked x item",
            "no cross of a liked or disliked film with the candidate",
            replace(base, features=without_taste_crosses(base.features)),
        ),
        Variant(
            "no returning users",
            "trained on ratings of users who had none before",
            replace(base, sampling=replace(base.sampling, rows=RowSelection.NEW_USERS)),
        ),
        Variant("paper preset", "the towers and embeddings of the paper", preset("paper")),
        *_sparsities(base),
        Variant(RAW_FULL, _RAW, raw, against=None),
        *_halves(raw, RAW_FULL, "raw: "),
    )


def select_variants(names: Iterable[str] | None) -> tuple[Variant, ...]:
    """The named variants and those they are compared with (always `FULL`); all if None.

    Raises:
        InputError: there is no variant of a name, or none that is compared with another.
    """
    every = all_variants()
    if names is None:
        return every
    known = {variant.name: variant for variant in every}
    wanted = {FULL}
    for name in names:
        if name not in known:
            raise InputError(f"no variant {name!r}; there are {', '.join(known)}")
        wanted |= {name, known[name].against or FULL}
    found = tuple(variant for variant in every if variant.name in wanted)
    if all(variant.against is None for variant in found):
        raise InputError(f"{', '.join(wanted)}: a variant that is compared with another is wanted")
    return found


def without_taste_crosses(spec: FeatureSpec) -> FeatureSpec:
    """`spec` without the crosses that a liked or disliked item is part of."""
    return replace(spec, crosses=_crosses_without(_TASTE, spec))


def without_numbers(spec: FeatureSpec) -> FeatureSpec:
    """`spec` without numbers and buckets, and without what is made of them.

    The wide part reads the bags of liked and disliked items in their place: without both, it would
    know of a user only what a kept cross tells.
    """
    buckets = {bucket.name for bucket in spec.buckets}
    tastes = [bag.name for bag in spec.bags if bag.name in _TASTE]
    read = dict.fromkeys([*spec.wide, *tastes])
    wide = tuple(name for name in read if name not in buckets)
    return replace(
        spec,
        numbers=(),
        buckets=(),
        crosses=_crosses_without(buckets, spec),
        wide=wide,
        offset=None,
    )


def _crosses_without(parts: set[str], spec: FeatureSpec) -> tuple[Cross, ...]:
    return tuple(cross for cross in spec.crosses if not parts & set(cross.parts))


def _raw(base: Preset) -> Preset:
    training = base.training
    ftrl = replace(training.ftrl, alpha=_RAW_WIDE_RATE * training.ftrl.alpha)
    rate = _RAW_DEEP_RATE * training.learning_rate
    return replace(
        base,
        features=with_user_id(without_numbers(base.features)),
        training=replace(training, learning_rate=rate, ftrl=ftrl),
    )


def _halves(base: Preset, full: str, prefix: str = "") -> tuple[Variant, ...]:
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


def _sparsities(base: Preset) -> Iterable[Variant]:
    """The points of the curve besides the default itself."""
    for factor in L1_FACTORS:
        if factor != 1:
            ftrl = replace(base.training.ftrl, l1=factor * base.training.ftrl.l1)
            training = replace(base.training, ftrl=ftrl)
            sentence = f"an L1 of {ftrl.l1:g} instead of {base.training.ftrl.l1:g}"
            changed = replace(base, training=training)
            yield Variant(f"L1 x {factor:g}", sentence, changed, l1_factor=factor)


Pairs = Sequence[tuple[int, int]]
"""Tokens of the liked item and of the candidate."""


def read_planted_pairs(folder: Path) -> list[tuple[int, int]]:
    """The pairs planted in a folder of ratings; none in real ones."""
    marker = folder / MARKER
    if not marker.exists():
        return []
    exceptions = json.loads(marker.read_text(encoding="utf-8"))["exceptions"]
    return [(pair["liked"], pair["candidate"]) for pair in exceptions]


def planted_pair_applies(
    planted: Pairs, interactions: Interactions, asked: Queries
) -> NDArray[np.bool_]:
    """Rows whose user is known to have liked the first item of a pair that they end, shape (n,)."""
    found = np.zeros(len(asked), bool)
    for liked, candidate in planted:
        fans = (interactions.item == liked) & (interactions.value >= POSITIVE)
        since = (
            pd.Series(interactions.time[fans], index=interactions.user[fans])
            .reindex(asked.user)
            .to_numpy()
        )
        found |= (asked.item == candidate) & (since < asked.known_until)
    return found


NEW = "new users"
RETURNING = "returning users"
REMEMBERED = "remembered pairs"
PLANTED = "planted exceptions"

_MEMORY = {"liked", "item"}

Bools = NDArray[np.bool_]
Masks = Mapping[str, Bools]
"""Rows of the holdout by protocol, shape (n,) each."""


def slice_holdout(
    interactions: Interactions,
    item_table: ItemTable,
    split: Split,
    transform: Transform,
    planted: Pairs,
) -> dict[str, Masks]:
    """Mark the rows of each slice, under both protocols.

    New and returning users are the same rows in both: whether the user has an earlier rating.
    Remembered pairs are rows where a item in the user's liked history makes a kept cross with the
    candidate; planted exceptions (if there are any) rows where the user liked the first item of a
    planted pair and the candidate is the second. Both by what that protocol knows.
    """
    users = slices(interactions, split)
    found: dict[str, Masks] = {
        NEW: dict.fromkeys(PROTOCOLS, users["new_user"]),
        RETURNING: dict.fromkeys(PROTOCOLS, users["returning_user"]),
    }
    held = split.holdout(interactions.time)
    asked = queries_by_protocol(interactions, held, split.holdout_from)
    found[REMEMBERED] = {
        name: remembered(transform, transform.describe(interactions, rows, item_table))
        for name, rows in asked.items()
    }
    if planted:
        found[PLANTED] = {
            name: planted_pair_applies(planted, interactions, rows) for name, rows in asked.items()
        }
    return found


def remembered(transform: Transform, rows: RawFeatures) -> Bools:
    """Rows that fire at least one cross of a liked item with the candidate, shape (n,)."""
    wide = transform.fired(rows)
    fired = np.zeros(len(rows), bool)
    for block in wide_blocks(transform):
        if set(block.features) != _MEMORY:
            continue
        inside = (wide.values >= block.ids.start) & (wide.values < block.ids.stop)
        fired[wide.row_numbers()[inside]] = True
    return fired
