"""DeepCTR-Torch's WDL on the work of training (see `epoch`)."""

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import WDL
from epoch import show_rate


def begin(rows, threads):
    """A model, and what trains it."""
    torch.set_num_threads(threads)
    ids = columns("c", rows["ids"], rows["sizes"])
    crosses = columns("x", rows["crosses"], rows["cross_sizes"])
    numbers = {f"n{i}": column for i, column in enumerate(rows["numbers"].T)}
    given = {name: column for name, (column, _) in {**ids, **crosses}.items()} | numbers
    label, batch = rows["label"].astype(np.float32), int(rows["batch"])
    embedding = int(rows["embedding"])
    dense = [DenseFeat(name, 1) for name in numbers]
    deep = [SparseFeat(name, size, embedding) for name, (_, size) in ids.items()]
    wide = [SparseFeat(name, size, embedding) for name, (_, size) in {**ids, **crosses}.items()]
    model = WDL(wide + dense, deep + dense, dnn_hidden_units=tuple(rows["hidden"].tolist()))
    model.compile("adagrad", "binary_crossentropy")

    def fit(part):
        some = {name: column[part] for name, column in given.items()}
        model.fit(some, label[part], batch, epochs=1, verbose=0)

    return fit


def columns(prefix, ids, sizes):
    """Each column of ids by name, with the number of its ids."""
    pairs = zip(ids.T, sizes.tolist(), strict=True)
    return {f"{prefix}{i}": pair for i, pair in enumerate(pairs)}


if __name__ == "__main__":
    show_rate(begin)
