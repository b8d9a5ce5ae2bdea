"""The memorisation report as Markdown, for people."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from widedeep.evaluation.markdown import markdown_table
from widedeep.evaluation.memory_table import Change


def memorisation_report(
    features: pd.DataFrame, blocks: pd.DataFrame, sparsity: pd.DataFrame, top: int
) -> str:
    """Totals, the strongest memories up and down, what changed, and the curve over L1.

    The frames are those of `Memorisation`; `top` is the length of each list.
    """
    sections = [
        f"# What the wide part remembers\n\n{_totals(blocks)}",
        *(_memories(features, block, top) for block in blocks["block"][blocks["memory"]]),
        _changes(features, top),
        _sparsity(sparsity),
    ]
    return "\n\n".join(sections) + "\n"


def _totals(blocks: pd.DataFrame) -> str:
    shown = {
        "block": blocks["block"],
        "keys": blocks["keys"].map("{:,}".format),
        "with a weight": blocks["nonzero"].map("{:,}".format),
        "sum of abs(weight)": blocks["weight"].map("{:.3f}".format),
    }
    counts = f"{blocks['nonzero'].sum():,} of {blocks['keys'].sum():,} wide features have a weight."
    return (
        f"{counts} Below, `support` counts the training rows that fire one; `lift` is their "
        "positive rate over that of all rows of the candidate (of all rows, where the wide part "
        f"does not read the candidate alone).\n\n{_table(shown, 1)}"
    )


def _memories(features: pd.DataFrame, block: str, top: int) -> str:
    held = features[(features["block"] == block) & (features["weight"] != 0)]
    up = held[held["weight"] > 0].head(top)
    down = held[held["weight"] < 0].head(top)
    return f"## Strongest of {block}\n\n### Up\n\n{_evidence(up)}\n\n### Down\n\n{_evidence(down)}"


def _evidence(features: pd.DataFrame) -> str:
    shown = {
        "Korean": features["korean"],
        "English": features["english"],
        "weight": features["weight"].map(_signed),
        "support": features["support"].map("{:,}".format),
        "positive rate": features["positive_rate"].map(_decimals),
        "lift": features["lift"].map(_decimals),
    }
    return _table(shown, 2)


def _changes(features: pd.DataFrame, top: int) -> str:
    heading = "## Since the previous model\n\n"
    if features["change"].isna().any():
        return heading + "There is no previous model."
    moved = features.assign(by=(features["weight"] - features["before"]).abs())
    moved = moved.sort_values("by", ascending=False, kind="stable")
    parts = {change: moved[moved["change"] == change] for change in Change}
    counts = ", ".join(f"{len(part):,} {change}" for change, part in parts.items())
    lists = [
        f"### {change.capitalize()}\n\n{_before_and_after(part.head(top))}"
        for change, part in parts.items()
        if change is not Change.KEPT
    ]
    return heading + "\n\n".join([f"{counts}.", *lists])


def _before_and_after(features: pd.DataFrame) -> str:
    shown = {
        "Korean": features["korean"],
        "English": features["english"],
        "before": features["before"].map(_signed),
        "now": features["weight"].map(_signed),
    }
    return _table(shown, 2)


def _sparsity(sparsity: pd.DataFrame) -> str:
    present = sparsity["present"].map({True: " (the present one)", False: ""})
    shown = {
        "L1": sparsity["l1"].map("{:g}".format) + present,
        "with a weight": sparsity["nonzero"].map("{:,}".format),
    }
    return (
        "## What another L1 would keep\n\n"
        "Weights with abs(z) above it in this model's state; a model trained with it would have "
        f"another state.\n\n{_table(shown, 1)}"
    )


def _table(columns: Mapping[str, pd.Series], words: int) -> str:
    """A Markdown table of named columns; the first `words` of them are text."""
    rows = [*zip(*columns.values(), strict=True)]
    return markdown_table([*columns], rows, words).rstrip("\n") if rows else "None."


def _signed(value: float) -> str:
    return f"{value:+.4f}" if value else "0"


def _decimals(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.2f}"
