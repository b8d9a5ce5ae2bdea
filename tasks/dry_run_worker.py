"""Load an MLflow model and send it requests: the process of a dry run.

`dry_run.py` executes this file; nothing imports it. It reads the model's folder from its standard
input. The last line of its output is a JSON object with the fields of `DryRunResult`.
"""

import atexit
import gc
import json
import sys
import time
from pathlib import Path
from statistics import median

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

REPEATS = 5
CONTEXT = "context_"
"""Prefix of the golden requests' context columns."""

TOLERANCE = 1e-6
"""Largest difference of a probability from the one computed in training."""


def main(folder: Path) -> None:
    """Send the golden requests to the model in `folder`, and requests that it has to refuse."""
    model = mlflow.pyfunc.load_model(str(folder))
    golden = pd.read_parquet(folder / "artifacts" / "history" / "golden.parquet")
    expected = golden["probability"].to_numpy()
    requests = golden.drop(columns="probability").rename(
        columns=lambda name: name.removeprefix(CONTEXT)
    )
    seconds, faults = [], []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        answers = model.predict(requests)["probability"].to_numpy()
        seconds.append(time.perf_counter() - begun)
    same_length = len(answers) == len(expected)
    error = float(np.abs(answers - expected).max()) if same_length else float("inf")
    if not error <= TOLERANCE:
        faults.append(f"answers differ by up to {error:.2g} from those in training")
    malformed = {
        "a request without item": requests.drop(columns="item"),
        "a time that is a text": requests.assign(time="now"),
    }
    faults += [
        f"{name} was answered" for name, request in malformed.items() if _answers(model, request)
    ]
    report = {"faults": faults, "rows": len(golden), "seconds": median(seconds)}
    sys.stdout.write(json.dumps(report) + "\n")


def _answers(model: PyFuncModel, request: pd.DataFrame) -> bool:
    try:
        model.predict(request)
    except MlflowException:
        return False
    return True


if __name__ == "__main__":
    # The caller waits for this process to end: skip the last garbage collection of all imports.
    atexit.register(gc.freeze)
    model_folder = sys.stdin.readline().strip()
    if model_folder:
        main(Path(model_folder))
