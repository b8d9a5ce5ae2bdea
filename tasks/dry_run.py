"""Try a registered model as a stranger would, in a fresh process, before anybody depends on it.

What the process does is in `stranger.py`.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 300
_STRANGER = Path(__file__).with_name("stranger.py")


@dataclass(frozen=True, slots=True)
class DryRun:
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


def try_out(folder: Path, budget: float) -> DryRun:
    """Load the MLflow model in `folder` in a fresh process that may not unpickle, and ask it.

    Args:
        folder: Where MLmodel is.
        budget: Seconds within which the golden requests have to be answered.
    """
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "PYTHONPATH": "",
        "PYTHONWARNINGS": "ignore",
    }
    try:
        done = subprocess.run(  # noqa: S603  our own file
            [sys.executable, str(_STRANGER), str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT,
            cwd=folder,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return DryRun((f"no answer within {TIMEOUT} s",))
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        return DryRun((f"the model cannot be loaded and asked: {last}",))
    found = DryRun(**json.loads(done.stdout.splitlines()[-1]))
    if found.seconds > budget:
        slow = f"{found.seconds:.1f} s for {found.rows} requests, at most {budget:g} s are wanted"
        return DryRun((*found.faults, slow))
    return DryRun(tuple(found.faults), found.rows, found.seconds)
