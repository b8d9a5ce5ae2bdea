"""One of the processes of `test_replicas`: trains its part and leaves what it has become.

python replica.py FOLDER RANK SIZE
"""

import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from safetensors.torch import save_file

from tests.model.conftest import World, item_table
from widedeep.model.distributed import ProcessGroup
from widedeep.model.trainer import Optimisers, Trainer


def main():
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=size)
    world = World(item_table())
    rows = world.training_set(lambda raw: raw.queries.item % 3 == 0, rows=601)
    network = world.network(rows.transform, seed=rank)  # only the first one's beginning counts
    network.generator.manual_seed(7)
    optimisers = Optimisers(network, world.preset.training)
    order = np.random.default_rng(5)
    trainer = Trainer(network, optimisers, world.preset.training, order, ProcessGroup())
    results = list(trainer.epochs(rows.training, rows.validation))
    figures = [[r.train_loss, r.validation_loss, r.validation_auc] for r in results]
    found = {**network.state_dict(), **optimisers.state(), "figures": torch.tensor(figures)}
    save_file(found, folder / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
