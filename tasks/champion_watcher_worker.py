"""Watch the champion of a home, and try each new one before a server hears of it.

Executed by `scouting.py` in a process of its own, so that neither MLflow nor a broken model can
slow or end the server; nothing imports it. It ends when its input does. Each line of its output is
a JSON object: the version that is being tried (`trying`), the model whose acknowledged ratings it
is `wanting` (a line of the input answers that), a `Sighting`, or `trouble` with the registry.
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

from tasks.champion_watcher import LAST, LOOK_EVERY, CandidateVersion
from tasks.tracking import Tracker
from widedeep import decision_log
from widedeep.choices import Precision
from widedeep.data.feedback_log import read_feedback
from widedeep.serving.handoff import SharedFile
from widedeep.serving.serving_model import ServedVersion, WarmState, check_version
from widedeep.workspace import Workspace


class RegistryWatch:
    """The champion of one model, or of the only one there is."""

    def __init__(self, workspace: Workspace, model: str | None, seen: str | None = None) -> None:
        """`seen` is the number of a version that is not to be tried (again)."""
        self._home = workspace
        self._model = model
        self._tracker: Tracker | None = None
        self._seen = seen

    def look(self) -> ServedVersion | None:
        """A champion that was none at the last look."""
        model = self._model or self._only_model()
        if model is None or model not in decision_log.subjects(self._home.decisions):
            return None
        # MLflow's database is whole by the first decision; before that it is left in peace.
        self._tracker = self._tracker or Tracker(self._home)
        champion = self._tracker.champion(model)
        before, self._seen = self._seen, champion.number if champion else None
        if champion is None or champion.number == before:
            return None
        served = champion.served.path
        return ServedVersion(model, champion.number, served, served.with_name("history"))

    def _only_model(self) -> str | None:
        models = decision_log.subjects(self._home.decisions)
        return models[0] if len(models) == 1 else None


def main(watch: RegistryWatch, precision: Precision) -> None:
    """Look until the input ends."""
    torch.set_num_threads(1)
    trouble, groundwork, before = "", SharedFile(), SharedFile()
    while not select.select([sys.stdin], [], [], LOOK_EVERY)[0]:
        # Whoever lets go of a file last frees its memory, some ms in which a server answers nobody.
        before.close()
        try:
            version = watch.look()
        except Exception as error:  # noqa: BLE001  the registry may be back at the next look
            if str(error) != trouble:
                _tell({"trouble": f"{type(error).__name__}: {error}"})
            trouble = str(error)
        else:
            trouble = ""
            if version is not None:
                _tell({"trying": version.number})
                before, groundwork = groundwork, SharedFile()
                _tell(asdict(_tried(version, precision, groundwork.path)))
                os.setpriority(os.PRIO_PROCESS, 0, LAST)


def _tried(version: ServedVersion, precision: Precision, groundwork: Path) -> CandidateVersion:
    fault = check_version(version, precision) or _do_groundwork(version, precision, groundwork)
    paths = (str(version.served), str(version.history), str(groundwork))
    return CandidateVersion(version.model, version.number, *paths, fault)


def _do_groundwork(version: ServedVersion, precision: Precision, path: Path) -> str | None:
    """Save what the server of a sound version need not work out then; any fault."""
    _tell({"wanting": version.model})
    told = json.loads(sys.stdin.readline())
    if "trouble" in told:
        return str(told["trouble"])
    try:
        events = read_feedback(Path(told["path"]), end=told["end"])
        WarmState.of(version, events, precision).save(path)
    except Exception as error:  # noqa: BLE001  the next version may be better
        return f"its groundwork cannot be done: {type(error).__name__}: {error}"
    return None


def _tell(told: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    place, name, chosen, known = sys.argv[1:]
    main(RegistryWatch(Workspace(Path(place)), name or None, known or None), Precision(chosen))
