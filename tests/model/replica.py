"""One of the processes of `test_distributed`: trains its share and saves what it has become.

python -m tests.model.replica FOLDER RANK SIZE
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import save_file

from tests.model.conftest import World, tables
from widedeep.model.distributed import ProcessGroup

ROWS = 601
"""With minibatches of 64 the last one has 25 rows, so the shares are uneven, too."""


def trained(seed, replicas=None):
    """Weights, optimiser state and figures after a training of a network drawn from `seed`."""
    world = World(tables())
    part = world.training_part(lambda raw: raw.queries.item % 3 == 0, rows=ROWS)
    network = world.network(part.transform, seed)
    network.generator.manual_seed(7)
    trainer = world.trainer_of(network, 5, replicas)
    results = list(trainer.epochs(part.training, part.validation))
    figures = [[r.train_loss, r.validation_loss, r.validation_auc] for r in results]
    tensors = {**network.state_dict(), **trainer.optimisers.state()}
    return {**tensors, "figures": torch.tensor(figures)}


def main():
    folder, rank, size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=size)
    # Each rank draws other weights: those of the first one are to be broadcast.
    save_file(trained(rank, ProcessGroup()), folder / f"{rank}.safetensors")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
