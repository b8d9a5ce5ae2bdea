"""The dry run: load a registered model in a fresh process and ask it, before it may serve.

The paper verifies each new model by a dry run before it is loaded into the servers (section 3.2).
`dry_run_worker.py` is what the process executes.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TIMEOUT_SECONDS = 300
_WORKER = Path(__file__).with_name("dry_run_worker.py")


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """The outcome of a dry run.

    Attributes:
        faults: One sentence for each thing that is wrong; empty if the model works.
        rows: Number of golden requests that were answered.
        seconds: Median time of answering all of them.
    """

    faults: tuple[str, ...]
    rows: int = 0
    seconds: float = 0.0

    def reasons(self) -> tuple[str, ...]:
        """Return the sentences that a decision records about this dry run."""
        if self.faults:
            return tuple(f"dry run: {fault}" for fault in self.faults)
        answered = f"{self.rows} requests answered as in training, unknown users and items included"
        return (f"dry run: loaded without pickle, {answered}, in {1000 * self.seconds:.0f} ms",)


class DryRunProcess:
    """A fresh process that refuses pickle and has only the installed package to import from.

    Importing what a model needs takes the process some seconds, so it is started before there is a
    model to try.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def start(self) -> subprocess.Popen[str]:
        """Start the process unless it runs already, and return it."""
        if self._process is None:
            environment = {
                **os.environ,
                "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
                "PYTHONPATH": "",
                "PYTHONWARNINGS": "ignore",
            }
            self._process = subprocess.Popen(  # noqa: S603  our own file
                [sys.executable, str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        return self._process

    def try_model(self, folder: Path, budget: float) -> DryRunResult:
        """Load the MLflow model in `folder` in the process and send it the golden requests.

        Args:
            folder: The folder that holds the file MLmodel.
            budget: Seconds within which all golden requests have to be answered.
        """
        process = self.start()
        try:
            output, errors = process.communicate(f"{folder}\n", TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            return DryRunResult((f"no answer within {TIMEOUT_SECONDS} s",))
        if process.returncode:
            last_line = (errors.strip() or "no message").splitlines()[-1]
            return DryRunResult((f"the model cannot be loaded and asked: {last_line}",))
        report = json.loads(output.splitlines()[-1])
        faults, rows, seconds = tuple(report["faults"]), report["rows"], report["seconds"]
        if seconds > budget:
            faults += (f"{seconds:.1f} s for {rows} requests; expected at most {budget:g} s",)
        return DryRunResult(faults, rows, seconds)
