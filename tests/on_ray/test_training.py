"""Training on Ray is training: the same weights, metrics and reports, even if a worker dies."""

import os
import signal
from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch

from widedeep.features.training_data import TrainingData, warm_parts
from widedeep.inputs import Device, InputError
from widedeep.model.fitting import TrainingJob
from widedeep.model.trainer import DivergenceError

TOLERANCE = {"rtol": 2e-3, "atol": 2e-4}
"""Of float32 sums in another order, over all steps of five epochs."""

SEED = 4
"""With 3 one unit stands so near to 0 that ReLU lets it through in one process and not in two."""


def remembered(model):
    return {**model.network.state_dict(), **model.optimiser_state}


def figures(results):
    return [(r.epoch, r.train_loss, r.validation_loss, r.validation_auc) for r in results]


def fitted(engine, training, folder, after=None):
    """Results, summary and model; `after` is called with each result."""
    with engine.training(training, folder) as fitting:
        results = []
        for result in fitting.epochs():
            results.append(result)
            if after is not None:
                after(result)
        return results, fitting.summary(), fitting.trained_model()


@pytest.fixture(scope="module")
def training(plan_folder, settings):
    return TrainingJob(plan_folder, settings, None, SEED)


@pytest.fixture(scope="module")
def local(training):
    from tasks.engine import LOCAL

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = fitted(LOCAL, training, training.data)
    torch.set_num_threads(threads)
    return found


@pytest.fixture(scope="module")
def on_ray(cluster, training, tmp_path_factory):
    return fitted(cluster, training, tmp_path_factory.mktemp("drafts") / "models")


def test_gpus_that_the_cluster_has_not_are_refused(cluster, training, tmp_path):
    asked = replace(training, preset=training.preset.with_device(Device.CUDA))
    with pytest.raises(
        InputError, match="device is cuda, but the cluster has 0 GPUs for 2 workers"
    ):
        fitted(cluster, asked, tmp_path / "models")


def test_two_workers_make_the_model_of_one_process(local, on_ray):
    for (epoch, *found), (same, *wanted) in zip(*map(figures, (on_ray[0], local[0])), strict=True):
        assert epoch == same
        assert found == [None if w is None else pytest.approx(w, rel=1e-4) for w in wanted]
    assert on_ray[1]["best_epoch"] == local[1]["best_epoch"]
    found, wanted = remembered(on_ray[2]), remembered(local[2])
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, **TOLERANCE, msg=name)
    assert on_ray[2].learned_until == local[2].learned_until


def test_a_killed_worker_costs_time_and_nothing_else(cluster, training, on_ray, tmp_path):
    killed = []

    def kill_one(result):
        if result.epoch == 2 and not killed:
            workers = [p for p in psutil.process_iter() if "RayTrainWorker" in _name(p)]
            assert len(workers) == 2
            os.kill(workers[-1].pid, signal.SIGKILL)
            killed.append(workers[-1].pid)

    results, summary, model = fitted(cluster, training, tmp_path / "models", kill_one)
    assert killed
    assert not psutil.pid_exists(killed[0])
    assert figures(results) == figures(on_ray[0])
    assert summary == on_ray[1]
    found, wanted = remembered(model), remembered(on_ray[2])
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_warm_start_goes_on_from_the_same_model(cluster, world, settings, local, tmp_path):
    from tasks.engine import LOCAL

    interactions, tables, split = world
    local[2].save(_made(tmp_path / "previous"))
    previous = local[2].transform, local[2].learned_until
    plan = TrainingData.from_parts(
        warm_parts(interactions, tables, split.as_of, settings.sampling, *previous)
    )
    training = TrainingJob(plan, settings, tmp_path / "previous", 5)
    here = fitted(LOCAL, training, tmp_path / "models")
    there = fitted(cluster, training, tmp_path / "models")
    assert there[0][0].epoch == 0
    assert there[0][0].validation_auc == pytest.approx(here[0][0].validation_auc, rel=1e-4)
    assert there[1]["carried"] == here[1]["carried"]
    found = remembered(there[2])
    for name, value in remembered(here[2]).items():
        torch.testing.assert_close(found[name], value, **TOLERANCE, msg=name)
    assert not list(tmp_path.glob("models*"))


def test_a_training_that_diverges_ends_at_once_with_its_own_error(
    cluster, plan, settings, tmp_path
):
    # The same offset everywhere, so that nothing is fitted to it before the first minibatch.
    offset = np.full_like(plan.initial.training.rows.prior_logit, np.inf)
    rows = replace(plan.initial.training.rows, prior_logit=offset)
    training = replace(plan.initial.training, rows=rows)
    poisoned = replace(plan, initial=replace(plan.initial, training=training))
    with (
        pytest.raises(DivergenceError, match="the training loss became nan at epoch 1"),
        cluster.training(TrainingJob(poisoned, settings, None, 0), tmp_path / "models") as fitting,
    ):
        list(fitting.epochs())


def _made(folder):
    folder.mkdir()
    return folder


def _name(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
