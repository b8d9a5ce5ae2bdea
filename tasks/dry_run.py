"""Try a registered model as a stranger would, in a fresh process, before anybody depends on it.

What the process does is in `dry_run_worker.py`.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

TIMEOUT = 300
_STRANGER = Path(__file__).with_name("dry_run_worker.py")


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """What was found.

    Attributes:
        faults: What is wrong, for people; none if all is well.
        rows: Golden requests answered.
        seconds: Median time of an answer to all of them.
    """

    faults: tuple[str, ...]
    rows: int = 0
    seconds: float = 0.0

    def sentences(self) -> tuple[str, ...]:
        """For a decision's reasons."""
        if self.faults:
            return tuple(f"dry run: {fault}" for fault in self.faults)
        answered = f"{self.rows} requests answered as in training, strangers too"
        return (f"dry run: loaded without pickle, {answered}, in {1000 * self.seconds:.0f} ms",)


class DryRunProcess:
    """A fresh process that may not unpickle and knows the project by its name alone.

    It takes seconds to load what a model needs, so it is called before there is one.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def call(self) -> subprocess.Popen[str]:
        """Start it, if it has not been started."""
        if self._process is None:
            environment = {
                **os.environ,
                "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
                "PYTHONPATH": "",
                "PYTHONWARNINGS": "ignore",
            }
            self._process = subprocess.Popen(  # noqa: S603  our own file
                [sys.executable, str(_STRANGER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        return self._process

    def try_out(self, folder: Path, budget: float) -> DryRunResult:
        """Have it load the MLflow model in `folder` and ask for the golden requests.

        Args:
            folder: Where MLmodel is.
            budget: Seconds within which the requests have to be answered.
        """
        process = self.call()
        try:
            out, trouble = process.communicate(f"{folder}\n", TIMEOUT)
        except subprocess.TimeoutExpired:
            return DryRunResult((f"no answer within {TIMEOUT} s",))
        if process.returncode:
            last = (trouble.strip() or "no message").splitlines()[-1]
            return DryRunResult((f"the model cannot be loaded and asked: {last}",))
        found = DryRunResult(**json.loads(out.splitlines()[-1]))
        if found.seconds > budget:
            slow = f"{found.seconds:.1f} s for {found.rows} requests, wanted are {budget:g} s"
            return DryRunResult((*found.faults, slow))
        return DryRunResult(tuple(found.faults), found.rows, found.seconds)
