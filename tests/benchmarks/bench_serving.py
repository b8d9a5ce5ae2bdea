"""A server under load: latency, against MLflow's own server, and while versions change places.

    python -m tests.benchmarks.bench_serving [--home DIR] [--data DIR] [--rate 200] [--seconds 60]
                                             [--swaps 50] [--pause 1] [--rounds 5]

A swap begins `--pause` seconds after the last one was seen; with 0 there is always one under way.
Times with swaps and without them take turns, `--rounds` of each, as other users of a machine may
come and go.
Without --home two models are trained first, one of them on the ratings of a year less. The home is
copied, so nothing of it changes; its two newest versions change places (where there is only one, it
is registered a second time). Run it alone. JSON=1 ends with one JSON object.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
from mlflow import MlflowClient
from rich.console import Console
from rich.table import Table

from tasks.model_store import CHAMPION, ModelStore
from widedeep.workspace import Workspace

PATIENCE = 300
SEQUENTIAL = 100
CONNECTIONS = 8
LOOK_EVERY = 0.1
"""Seconds: often enough for what is told, and no load worth the name."""
WARM = 1
"""Seconds until a load has begun."""


@contextmanager
def process(command, **more):
    """A process that ends with the block."""
    with subprocess.Popen(command, text=True, **more) as running:
        try:
            yield running
        finally:
            running.terminate()


@contextmanager
def server(workspace):
    """Our server; gives a client once it answers."""
    command = [
        sys.executable,
        "-m",
        "flows.cli",
        "serve",
        "--home",
        str(workspace.root),
        "--port",
        "0",
    ]
    with process(command, stdout=subprocess.PIPE) as running:
        line = running.stdout.readline()
        url = next(word for word in line.split() if word.startswith("http"))
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE) as client:
            wait_for(lambda: client.get("/health").status_code == 200)
            yield client


@contextmanager
def mlflow_server(workspace, model):
    """MLflow's server of the same version."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        f"models:/{model}@{CHAMPION}",
    ]
    command += ["--env-manager", "local", "--port", str(port)]
    # It calls uvicorn by its name.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": workspace.tracking_uri, "PATH": path}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        process(command, env=environment, **quiet),
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=PATIENCE
        ) as client,
    ):
        wait_for(lambda: client.get("/ping").status_code == 200)
        yield client


def wait_for(reached):
    """Ask until it is so; returns the seconds it took."""
    begun = time.perf_counter()
    while time.perf_counter() - begun < PATIENCE:
        try:
            if reached():
                return time.perf_counter() - begun
        except httpx.HTTPError:
            pass
        time.sleep(LOOK_EVERY)
    raise TimeoutError("the server did not get there")


def load(client, world, rate, seconds):
    """Begin a load; its process."""
    url = str(client.base_url)
    command = [sys.executable, "-m", "tests.benchmarks.open_loop", url, str(rate), str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = subprocess.Popen([*command, str(CONNECTIONS)], text=True, env=environment, **pipes)
    running.stdin.write(json.dumps(world))
    running.stdin.close()
    return running


def ended(running):
    """What a load that has ended found: ms of its requests, and failures."""
    found = json.loads(running.stdout.read())
    running.wait()
    return {"ms": 1000 * np.array(found["seconds"]), "failures": found["failures"]}


def summary(parts):
    """p50, p99 in ms and the failures of some loads."""
    times = np.concatenate([part["ms"] for part in parts])
    p50, p99 = np.percentile(times, [50, 99]).tolist()
    failures = [failure for part in parts for failure in part["failures"]]
    return {"requests": len(times), "p50": p50, "p99": p99, "failures": failures}


def sequential(ask):
    """Median ms of one request after another."""
    times = []
    for _ in range(SEQUENTIAL):
        begun = time.perf_counter()
        answer = ask()
        times.append(time.perf_counter() - begun)
        assert answer.status_code == 200, answer.text
    return 1000 * float(np.median(times))


def side_by_side(client, workspace, model, world):
    """ms a request of 200 candidates, one after another, of both servers."""
    user, items = world["users"][0], world["items"][:200]
    ours = sequential(lambda: client.post("/rank", json={"user": user, "candidates": items}))
    rows = {"columns": ["user", "item"], "data": [[user, item] for item in items]}
    with mlflow_server(workspace, model) as theirs:
        ask = {"dataframe_split": rows}
        theirs.post("/invocations", json=ask)
        mlflow = sequential(lambda: theirs.post("/invocations", json=ask))
    return {"ours": ours, "mlflow": mlflow, "times": mlflow / ours}


def while_swapping(client, world, rate, swaps, pause, registry):
    """The load while versions change places, and the seconds each change took."""
    mlflow, model, versions = registry
    running, took = load(client, world, rate, PATIENCE), []
    time.sleep(WARM)
    for _ in range(swaps):
        serving = client.get("/health").json()["model"]["version"]
        (wanted,) = {*versions} - {serving}
        mlflow.set_registered_model_alias(model, CHAMPION, wanted)
        took.append(
            wait_for(lambda: client.get("/health").json()["model"]["version"] == wanted)  # noqa: B023
        )
        if running.poll() is not None:
            break
        time.sleep(pause)
    running.terminate()
    return ended(running) | {"swap": took}


def in_turn(client, world, options, registry):
    """Times without swaps and with them, one after the other."""
    normal, swapping = [], []
    for _ in range(options.rounds):
        seconds, swaps = options.seconds / options.rounds, options.swaps // options.rounds
        normal.append(ended(load(client, world, options.rate, seconds)))
        swapped = while_swapping(client, world, options.rate, swaps, options.pause, registry)
        swapping.append(swapped)
    one, other = summary(normal), summary(swapping)
    both = zip(normal, swapping, strict=True)
    rounds = [[summary([part])["p99"] for part in pair] for pair in both]
    return {
        "normal": one,
        "swapping": other | {"swap": [s for part in swapping for s in part["swap"]]},
        "ratio": other["p99"] / one["p99"],
        "rounds": rounds,
    }


def second_version(workspace):
    """The champion and another version; MLflow's client, the model, and both numbers."""
    store, client = ModelStore(workspace), MlflowClient(workspace.tracking_uri)
    (model,) = workspace.decided_models()
    number = store.champion(model).number
    held = {int(one.version) for one in client.search_model_versions(f"name='{model}'")}
    others = held - {int(number)}
    if others:
        return client, model, (number, str(max(others)))
    found = client.get_model_version(model, number)
    again = client.create_model_version(model, found.source, found.run_id, tags=found.tags)
    return client, model, (number, str(again.version))


def world_of(workspace, model):
    """Users and items to ask for."""
    history = ModelStore(workspace).champion(model).served.path.with_name("history")
    users = pq.read_table(history / "ratings.parquet", columns=["user"])["user"].to_pylist()
    items = pq.read_table(history / "items.parquet", columns=["item"])["item"].to_pylist()
    return {"users": users[::50], "items": items}


def trained(data, folder):
    """A home with two versions."""
    command = [sys.executable, "-m", "flows.cli", "retrain", "--data", str(data), "--home", folder]
    for moment in (["--as-of", "2018-12-31"], []):
        subprocess.run([*command, *moment], check=True)
    return folder


def show(found, rate, pause):
    """A table."""
    table = Table("", "p50, ms", "p99, ms", "failed", title=f"200 candidates, {rate:g} a second")
    for name in ("normal", "swapping"):
        one = found[name]
        failed = f"{len(one['failures'])} of {one['requests']:,}"
        table.add_row(name, f"{one['p50']:.2f}", f"{one['p99']:.2f}", failed)
    console = Console()
    console.print(table)
    both = found["side_by_side"]
    console.print(
        f"one after another, ms: {both['ours']:.2f}, mlflow models serve {both['mlflow']:.1f} "
        f"({both['times']:.0f} times)"
    )
    swap, rounds = found["swapping"]["swap"], np.array(found["rounds"])
    each = ", ".join(f"{normal:.1f} and {swapping:.1f}" for normal, swapping in rounds)
    console.print(
        f"{len(swap)} swaps, {pause:g} s between them, s from the registry's move to answers: "
        f"median {np.median(swap):.2f}, longest {max(swap):.2f}; "
        f"p99 {found['ratio']:.2f} of the normal one\n"
        f"p99 in each round, normal and swapping: {each}; "
        f"medians {np.median(rounds[:, 0]):.1f} and {np.median(rounds[:, 1]):.1f}"
    )


def main():
    """Run all and print."""
    default = Path(__file__).resolve().parents[3] / "shared" / "data" / "kmrd-small"
    parser = argparse.ArgumentParser()
    parser.add_argument("--home", type=Path)
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--swaps", type=int, default=50)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = options.home or trained(options.data, f"{folder}/trained")
        skipped = shutil.ignore_patterns("artifacts", "stages", "prefect", "events")
        workspace = Workspace(Path(shutil.copytree(place, f"{folder}/home", ignore=skipped)))
        registry = second_version(workspace)
        world = world_of(workspace, registry[1])
        with server(workspace) as client:
            ended(load(client, world, options.rate, 3))
            found = {"side_by_side": side_by_side(client, workspace, registry[1], world)}
            found |= in_turn(client, world, options, registry)
    show(found, options.rate, options.pause)
    if os.environ.get("JSON") == "1":
        print(json.dumps(found))


if __name__ == "__main__":
    main()
