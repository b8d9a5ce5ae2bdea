"""The process of a `ChampionWatcher`: poll the registry, and check each new champion.

Started by `champion_watcher.py`, which describes the messages, as a program: neither MLflow nor a
broken model can slow or end the server. It ends when its input is closed. Its arguments are the
folder of the workspace, the model ("" for the only one), the precision, and the number of a version
not to be checked again ("" for none).
"""

import json
import os
import select
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tasks.champion_watcher import CHECKING_NICENESS, POLL_SECONDS, CandidateVersion
from tasks.model_store import ModelStore
from widedeep import Workspace
from widedeep.data.feedback_log import read_feedback
from widedeep.data.tables import SideTables
from widedeep.inputs import Precision
from widedeep.serving.handoff import SharedFile
from widedeep.serving.serving_model import ServedVersion, WarmState, check_version


class RegistryPoller:
    """Watches the champion of `model`, or of the only model of a workspace."""

    def __init__(
        self, workspace: Workspace, model: str | None, last_seen: str | None = None
    ) -> None:
        """`last_seen` is the number of a version that is not reported (again)."""
        self._workspace = workspace
        self._model = model
        self._store: ModelStore | None = None
        self._last_seen = last_seen

    def poll(self) -> ServedVersion | None:
        """Return the champion if it is another one than at the last call, else None."""
        model = self._model or self._only_model()
        if model is None or model not in self._workspace.decided_models():
            return None
        # MLflow's database is complete once a decision is logged; do not touch it before.
        self._store = self._store or ModelStore(self._workspace)
        champion = self._store.champion(model)
        before, self._last_seen = self._last_seen, champion.number if champion else None
        if champion is None or champion.number == before:
            return None
        served = champion.served.path
        return ServedVersion(model, champion.number, served, served.with_name("history"))

    def _only_model(self) -> str | None:
        models = self._workspace.decided_models()
        return models[0] if len(models) == 1 else None


def main(poller: RegistryPoller, precision: Precision) -> None:
    """Poll until the input is closed."""
    torch.set_num_threads(1)
    last_error, warm_state, previous = "", SharedFile(), SharedFile()
    while not select.select([sys.stdin], [], [], POLL_SECONDS)[0]:
        # The process that closes a file last frees its memory, which takes some ms. Closing it
        # one poll later makes that this process, and not the server, which answers meanwhile.
        previous.close()
        try:
            version = poller.poll()
        except Exception as error:  # noqa: BLE001  the registry may be back at the next poll
            if str(error) != last_error:
                _send({"error": f"{type(error).__name__}: {error}"})
            last_error = str(error)
        else:
            last_error = ""
            if version is not None:
                _send({"checking": version.number})
                previous, warm_state = warm_state, SharedFile()
                _send(asdict(_check(version, precision, warm_state.path)))
                os.setpriority(os.PRIO_PROCESS, 0, CHECKING_NICENESS)


def _check(version: ServedVersion, precision: Precision, warm_state: Path) -> CandidateVersion:
    fault = check_version(version, precision) or _warm_up(version, precision, warm_state)
    paths = (str(version.served), str(version.history), str(warm_state))
    return CandidateVersion(version.model, version.number, *paths, fault)


def _warm_up(version: ServedVersion, precision: Precision, path: Path) -> str | None:
    """Save the warm state of a sound version; return what is wrong if that fails."""
    _send({"needs_feedback": version.model})
    acknowledged = json.loads(sys.stdin.readline())
    if "error" in acknowledged:
        return str(acknowledged["error"])
    try:
        spec = SideTables.load(version.history).spec
        feedback = read_feedback(Path(acknowledged["path"]), spec, end=acknowledged["end"])
        WarmState.compute(version, feedback, precision).save(path)
    except Exception as error:  # noqa: BLE001  the next version may be better
        return f"its warm state cannot be computed: {type(error).__name__}: {error}"
    return None


def _send(message: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    folder, name, chosen_precision, seen_number = sys.argv[1:]
    main(
        RegistryPoller(Workspace(Path(folder)), name or None, seen_number or None),
        Precision(chosen_precision),
    )
