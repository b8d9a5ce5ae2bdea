"""Load an MLflow model and ask it, as a stranger would.

Executed by `dry_run.py` in a process of its own; nothing imports it. It reads the model's folder
from its input; the last line of its output is a JSON object, see `DryRun`.
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
TOLERANCE = 1e-6


def main(folder: Path) -> None:
    """Ask for the golden requests, and for what must be refused."""
    model = mlflow.pyfunc.load_model(str(folder))
    golden = pd.read_parquet(folder / "artifacts" / "history" / "golden.parquet")
    asked, wanted = golden[["user", "item", "time"]], golden["probability"].to_numpy()
    took, faults = [], []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        given = model.predict(asked)["probability"].to_numpy()
        took.append(time.perf_counter() - begun)
    apart = float(np.abs(given - wanted).max()) if len(given) == len(wanted) else float("inf")
    if not apart <= TOLERANCE:
        faults.append(f"answers differ by up to {apart:.2g} from those in training")
    malformed = {
        "a request without item": asked.drop(columns="item"),
        "a user that is a text": asked.assign(user="somebody"),
    }
    faults += [
        f"{name} was answered" for name, request in malformed.items() if _answers(model, request)
    ]
    found = {"faults": faults, "rows": len(golden), "seconds": median(took)}
    sys.stdout.write(json.dumps(found) + "\n")


def _answers(model: PyFuncModel, request: pd.DataFrame) -> bool:
    try:
        model.predict(request)
    except MlflowException:
        return False
    return True


if __name__ == "__main__":
    # Python ends with a look at all that was imported; who asked waits for the end.
    atexit.register(gc.freeze)
    asked_for = sys.stdin.readline().strip()
    if asked_for:
        main(Path(asked_for))
