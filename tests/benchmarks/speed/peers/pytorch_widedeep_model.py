"""pytorch-widedeep on the work of training (see `epoch`)."""

import numpy as np
import torch
from epoch import show_rate
from pytorch_widedeep import Trainer
from pytorch_widedeep.models import TabMlp, Wide, WideDeep


def begin(rows, threads):
    """A model, and what trains it."""
    torch.set_num_threads(threads)
    sizes = rows["sizes"].tolist()
    starts = np.concatenate([[0], np.cumsum([*sizes, *rows["cross_sizes"].tolist()])])
    wide = np.concatenate([rows["ids"], rows["crosses"]], axis=1) + starts[:-1] + 1
    table = np.concatenate([rows["ids"] + 1, rows["numbers"]], axis=1).astype(np.float32)
    numbers = [f"n{i}" for i in range(rows["numbers"].shape[1])]
    names = [f"c{i}" for i in range(len(sizes))]
    embedding = int(rows["embedding"])
    deep = TabMlp(
        column_idx={name: i for i, name in enumerate([*names, *numbers])},
        cat_embed_input=[(name, size, embedding) for name, size in zip(names, sizes, strict=True)],
        continuous_cols=numbers,
        mlp_hidden_dims=rows["hidden"].tolist(),
    )
    model = WideDeep(wide=Wide(int(starts[-1]), 1), deeptabular=deep)
    adagrad = {
        "wide": torch.optim.Adagrad(model.wide.parameters(), 0.01),
        "deeptabular": torch.optim.Adagrad(model.deeptabular.parameters(), 0.01),
    }
    trainer = Trainer(model, objective="binary", optimizers=adagrad, num_workers=0, verbose=0)
    label, batch = rows["label"].astype(int), int(rows["batch"])

    def fit(part):
        trainer.fit(wide[part], table[part], target=label[part], n_epochs=1, batch_size=batch)

    return fit


if __name__ == "__main__":
    show_rate(begin)
