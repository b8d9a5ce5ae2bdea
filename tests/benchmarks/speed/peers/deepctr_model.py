"""DeepCTR-Torch's WDL on the work of training, run by an interpreter that has it.

    python deepctr_model.py ROWS.npz THREADS

prints one JSON object: rows a second of an epoch after a first, shorter one, and versions.
"""

import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import WDL

EMBEDDING, HIDDEN, BATCH = 32, (1024, 512, 256), 1024


def main() -> None:
    """Train, print."""
    path, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    rows = np.load(path)
    ids = columns("c", rows["ids"], rows["sizes"])
    crosses = columns("x", rows["crosses"], rows["cross_sizes"])
    numbers = {f"n{i}": column for i, column in enumerate(rows["numbers"].T)}
    given = {name: column for name, (column, _) in {**ids, **crosses}.items()} | numbers
    dense = [DenseFeat(name, 1) for name in numbers]
    deep = [SparseFeat(name, size, EMBEDDING) for name, (_, size) in ids.items()]
    wide = [SparseFeat(name, size, EMBEDDING) for name, (_, size) in {**ids, **crosses}.items()]
    model = WDL(wide + dense, deep + dense, dnn_hidden_units=HIDDEN)
    model.compile("adagrad", "binary_crossentropy")

    def fit(part: slice) -> None:
        some = {name: column[part] for name, column in given.items()}
        model.fit(some, rows["label"][part].astype(np.float32), BATCH, epochs=1, verbose=0)

    fit(slice(20 * BATCH))
    started = time.perf_counter()
    fit(slice(None))
    rate = len(rows["label"]) / (time.perf_counter() - started)
    versions = {name: version(name) for name in ("deepctr-torch", "torch")}
    print(json.dumps({"rate": rate, "versions": versions}))


def columns(prefix, ids, sizes):
    """Each column of ids by name, with the number of its ids."""
    pairs = zip(ids.T, sizes.tolist(), strict=True)
    return {f"{prefix}{i}": pair for i, pair in enumerate(pairs)}


if __name__ == "__main__":
    main()
