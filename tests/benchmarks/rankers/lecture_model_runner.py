"""The lecture's model in pytorch-widedeep, run by an interpreter that has it.

    python lecture_model_runner.py FOLDER SEED EPOCHS

FOLDER holds training.parquet, questions.parquet and, unless EPOCHS says how long to train,
validation.parquet, which then stops training. It gets answers.parquet and told.json.

The lecture's layers, embeddings and batch, mended: users and items are there, the year's NaN is
not, genres are crossed with the grade and not with one another, and validation is later in time.
"""

import json
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from pytorch_widedeep import Trainer
from pytorch_widedeep.callbacks import EarlyStopping
from pytorch_widedeep.models import TabMlp, Wide, WideDeep
from pytorch_widedeep.preprocessing import TabPreprocessor, WidePreprocessor

EMBEDDING = 16
HIDDEN = [64, 32]
BATCH = 256
MOST_EPOCHS = 20
PATIENCE = 2
CROSSED_WITH = "id_grade"


class Preprocessors:
    """Fitted on the training table."""

    def __init__(self, training):
        names = list(training.columns)
        genres = [name for name in names if name.startswith("genre_")]
        ids = [name for name in names if name.startswith("id_")]
        numbers = [name for name in names if name.startswith("number_")]
        crosses = [(genre, CROSSED_WITH) for genre in genres] if CROSSED_WITH in ids else None
        embedded = [(name, EMBEDDING) for name in [*ids, *genres]]
        self.wide = WidePreprocessor([*ids, *genres], crosses)
        self.deep = TabPreprocessor(cat_embed_cols=embedded, continuous_cols=numbers)
        self.wide.fit(training)
        self.deep.fit(training)

    def inputs(self, table):
        """What the trainer takes of a table, its target included if it has labels."""
        found = {"X_wide": self.wide.transform(table), "X_tab": self.deep.transform(table)}
        return found | ({"target": table["label"].to_numpy()} if "label" in table else {})

    def model(self):
        """The network for these inputs."""
        deep = TabMlp(
            column_idx=self.deep.column_idx,
            cat_embed_input=self.deep.cat_embed_input,
            continuous_cols=self.deep.continuous_cols,
            mlp_hidden_dims=HIDDEN,
        )
        return WideDeep(wide=Wide(self.wide.wide_dim), deeptabular=deep)


def fit(trainer, training, validation, epochs):
    """Train; returns the epoch whose weights were kept."""
    if validation is None:
        trainer.fit(X_train=training, n_epochs=epochs, batch_size=BATCH)
        return epochs
    trainer.fit(X_train=training, X_val=validation, n_epochs=MOST_EPOCHS, batch_size=BATCH)
    losses = trainer.history["val_loss"]
    return losses.index(min(losses)) + 1


def main():
    """Train and answer."""
    folder, seed, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    tables = {path.stem: pd.read_parquet(path) for path in folder.glob("*.parquet")}
    preprocessors = Preprocessors(tables["training"])
    inputs = {name: preprocessors.inputs(table) for name, table in tables.items()}
    # The trainer sets its seed too late: the network has drawn its first weights by then.
    torch.manual_seed(seed)
    stop = EarlyStopping(patience=PATIENCE, restore_best_weights=True)
    callbacks = None if epochs else [stop]
    trainer = Trainer(
        preprocessors.model(), objective="binary", callbacks=callbacks, seed=seed, verbose=0
    )
    started = time.perf_counter()
    kept = fit(trainer, inputs["training"], inputs.get("validation"), epochs)
    seconds = time.perf_counter() - started
    found = trainer.predict_proba(**inputs["questions"], batch_size=4096)[:, 1]
    pd.DataFrame({"probability": found}).to_parquet(folder / "answers.parquet")
    (folder / "told.json").write_text(json.dumps({"epochs": kept, "seconds": seconds}))


if __name__ == "__main__":
    main()
