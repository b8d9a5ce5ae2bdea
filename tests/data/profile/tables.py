"""Tables of interactions, and of items and users, that tests of `describe` write in many forms."""

import numpy as np
import pandas as pd

NOW = 1_700_000_000
ROWS, USERS, ITEMS = 1200, 60, 40
GENRES = ("Action", "Comedy", "Drama", "Film-Noir")
RANDOM = np.random.default_rng(3)
USER = 1 + np.arange(ROWS) % USERS
ITEM = 1 + (np.arange(ROWS) // USERS * 7 + np.arange(ROWS) % USERS * 11) % ITEMS
SECONDS = 1_500_000_000 + np.sort(RANDOM.integers(0, 3 * 10**7, ROWS))
RATING = RANDOM.choice([1, 2, 3, 4, 5], ROWS, p=[0.05, 0.1, 0.25, 0.35, 0.25])
CLICKED = (RANDOM.random(ROWS) < 0.3).astype(int)
FLAT = {"user_id": USER, "item_id": ITEM, "timestamp": SECONDS, "clicked": CLICKED}


def of_user(values):
    """Return a value for each row that follows from its user."""
    return np.asarray(values)[(USER - 1) % len(values)]


def of_item(values):
    """Return a value for each row that follows from its item."""
    return np.asarray(values)[(ITEM - 1) % len(values)]


def write(folder, **tables):
    """Write each table as `name.csv`, or as `name__parquet` or `name__tsv` says."""
    folder.mkdir(exist_ok=True)
    for name, columns in tables.items():
        frame = pd.DataFrame(columns)
        stem, _, suffix = name.partition("__")
        if suffix == "parquet":
            frame.to_parquet(folder / f"{stem}.parquet", index=False)
        else:
            mark = "\t" if suffix == "tsv" else ","
            frame.to_csv(folder / f"{stem}.{suffix or 'csv'}", sep=mark, index=False)
    return folder


def features(description):
    return {feature.name: feature for feature in description.spec.features}


def reason(description, column):
    """Return why a column was left out; None if it was not."""
    lines = [line for line in description.text.splitlines() if line.startswith("# Left out:")]
    return next((line for line in lines if f".{column}:" in line), None)


def bag(number, mark="|"):
    return mark.join(GENRES[k] for k in range(4) if number >> k & 1) or GENRES[0]
