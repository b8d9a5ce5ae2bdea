"""pytorch-widedeep on the work of training, run by an interpreter that has it.

    python pytorch_widedeep_model.py ROWS.npz THREADS

prints one JSON object: rows a second of an epoch after a first, shorter one, and versions.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from pytorch_widedeep import Trainer
from pytorch_widedeep.models import TabMlp, Wide, WideDeep

EMBEDDING, HIDDEN, BATCH = 32, [1024, 512, 256], 1024


def main() -> None:
    """Train, print."""
    path, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    rows = np.load(path)
    sizes, cross_sizes = rows["sizes"].tolist(), rows["cross_sizes"].tolist()
    numbers = [f"n{i}" for i in range(rows["numbers"].shape[1])]
    names = [f"c{i}" for i in range(len(sizes))]
    starts = np.concatenate([[0], np.cumsum([*sizes, *cross_sizes])])
    wide = np.concatenate([rows["ids"], rows["crosses"]], axis=1) + starts[:-1] + 1
    table = np.concatenate([rows["ids"] + 1, rows["numbers"]], axis=1).astype(np.float32)
    deep = TabMlp(
        column_idx={name: i for i, name in enumerate([*names, *numbers])},
        cat_embed_input=[(name, size, EMBEDDING) for name, size in zip(names, sizes, strict=True)],
        continuous_cols=numbers,
        mlp_hidden_dims=HIDDEN,
    )
    model = WideDeep(wide=Wide(int(starts[-1]), 1), deeptabular=deep)
    adagrad = {
        "wide": torch.optim.Adagrad(model.wide.parameters(), 0.01),
        "deeptabular": torch.optim.Adagrad(model.deeptabular.parameters(), 0.01),
    }
    trainer = Trainer(model, objective="binary", optimizers=adagrad, num_workers=0, verbose=0)

    def fit(part: slice) -> None:
        label = rows["label"][part].astype(int)
        trainer.fit(wide[part], table[part], target=label, n_epochs=1, batch_size=BATCH)

    fit(slice(20 * BATCH))
    started = time.perf_counter()
    fit(slice(None))
    rate = len(table) / (time.perf_counter() - started)
    versions = {name: version(name) for name in ("pytorch-widedeep", "torch")}
    print(json.dumps({"rate": rate, "versions": versions}))


if __name__ == "__main__":
    main()
