"""Which version of a model serves, and every move of the champion.

A move is recorded in the decision log before it is made in MLflow, so the record is the truth: if a
process is killed between the two, the next holder of the workspace's lock finishes the move. A
champion that a person moved in MLflow itself is accepted as it is, and recorded.

`choose_version` and `open_registry` find the version or the model that a command means.
"""

import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.dry_run import DryRunProcess
from tasks.model_store import ModelStore
from widedeep import InputError, Workspace
from widedeep.inputs import choose_model
from widedeep.store import ModelVersion

PROMOTE = "promote"
ROLLBACK = "rollback"
OUTSIDE = "moved outside widedeep"


class Registry:
    """The champion of one registered model, and its history.

    Only for the holder of the workspace's lock.
    """

    def __init__(self, workspace: Workspace, store: ModelStore, model: str) -> None:
        self._store = store
        self.model = model
        self._log = workspace.decision_log(model)

    def champion(self) -> ModelVersion | None:
        """Finish a move that was interrupted, and return the version that serves."""
        self._settle()
        return self._store.champion(self.model)

    def decide(
        self,
        decision: Mapping[str, Any],
        champion: ModelVersion | None,
        successor: ModelVersion | None,
    ) -> ModelVersion | None:
        """Record a decision and, if `champion` gets a successor, let the successor serve.

        Returns:
            The version that serves from then on.

        Raises:
            ChampionChangedError: `champion` does not serve any more; nothing was done.
        """
        if successor is None:
            serving = self._store.champion(self.model)
            self._log.record(_signed(decision, serving, serving))
            return serving
        self._store.expect_champion(self.model, champion)
        pending = self._log.begin(_signed(decision, successor, champion))
        self._store.promote(self.model, successor.number, replacing=champion)
        self._log.finish(pending)
        return successor

    def candidate(self, version: str, reason: str) -> ModelVersion:
        """Return the version (its number or an alias) that `promote` would let serve.

        Raises:
            InputError: There is no such version, it serves already, or the reason is empty.
        """
        candidate = self._store.find(self.model, version)
        if candidate is None:
            raise InputError(f"{self.model} has no version {version!r}; see widedeep status")
        _check(self.model, candidate, self.champion(), reason)
        return candidate

    def promote(self, version: ModelVersion, reason: str) -> None:
        """Let a candidate serve that the gate did not choose."""
        self._move(version, self.champion(), PROMOTE, reason)

    def roll_back(self, reason: str) -> ModelVersion:
        """Let the version serve that served before the champion, and return it.

        Raises:
            InputError: There is no previous champion, or the reason is empty.
        """
        champion = self.champion()
        previous = self._store.previous(self.model)
        if previous is None:
            raise InputError(f"{self.model} has no previous champion to go back to")
        self._move(previous, champion, ROLLBACK, reason)
        return previous

    def _move(
        self, successor: ModelVersion, champion: ModelVersion | None, action: str, reason: str
    ) -> None:
        _check(self.model, successor, champion, reason)
        decision = {"version": successor.number, "action": action, "reason": reason.strip()}
        self.decide(decision, champion, successor)

    def _settle(self) -> None:
        """Finish a move that was interrupted, and record one that was made elsewhere."""
        serving = self._store.champion(self.model)
        number = serving.number if serving else None
        pending = self._log.pending()
        if pending is not None:
            interrupted = self._log.read(pending)
            if number == interrupted["replaced_version"]:
                number = interrupted["champion_version"]
                self._store.promote(self.model, number, replacing=serving)
            self._log.finish(pending)
        decisions = self._log.history()
        recorded = decisions[-1]["champion_version"] if decisions else None
        if number != recorded:
            outside = {"version": number, "action": OUTSIDE, "reason": "found so in MLflow"}
            replaced = self._store.find(self.model, recorded) if recorded else None
            self._log.record(_signed(outside, serving, replaced))


def promote_after_dry_run(registry: Registry, version: str, reason: str) -> ModelVersion:
    """Let a version serve that the gate did not choose, if it passes a dry run.

    Raises:
        InputError: There is no such version, it serves already, the reason is empty, or the version
            fails the dry run.
    """
    candidate = registry.candidate(version, reason)
    with DryRunProcess() as process:
        process.start()
        from widedeep import GateConfig  # noqa: PLC0415  imported meanwhile

        result = process.try_model(candidate.folder, GateConfig().latency_budget)
    if result.faults:
        faults = "; ".join(result.reasons())
        raise InputError(f"{registry.model} version {candidate.number} was not promoted: {faults}")
    registry.promote(candidate, reason)
    return candidate


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A version of a registered model, and the store that has its files."""

    store: ModelStore
    model: str
    version: ModelVersion

    @property
    def title(self) -> str:
        """Name and version, as `widedeep-kmrd-small version 3`."""
        return f"{self.model} version {self.version.number}"


def choose_version(workspace: Workspace, model: str | None, version: str) -> RegisteredModel:
    """Return the version (a number or an alias) of `model`, or of the only registered model.

    Raises:
        InputError: There is no such model or version, or there are several models and `model` is
            None.
    """
    store = _open_store(workspace)
    name = choose_model(store.models(), model)
    chosen = store.find(name, version)
    if chosen is None:
        raise InputError(
            f"{name} has no version {version!r}; expected a number or an alias (champion, "
            "previous, challenger), see widedeep status"
        )
    return RegisteredModel(store, name, chosen)


def open_registry(workspace: Workspace, model: str | None) -> Registry:
    """Return the registry of `model`, or of the only registered model.

    Raises:
        InputError: There is no such model, or there are several models and `model` is None.
    """
    store = _open_store(workspace)
    return Registry(workspace, store, choose_model(store.models(), model))


def _open_store(workspace: Workspace) -> ModelStore:
    """Return the workspace's models; raise InputError if none is registered."""
    store = ModelStore(workspace) if workspace.has_tracking_store else None
    if store is None or not store.models():
        raise InputError(f"no model yet in {workspace.root}; begin with: widedeep retrain")
    return store


def _check(model: str, successor: ModelVersion, champion: ModelVersion | None, reason: str) -> None:
    if champion is not None and successor.number == champion.number:
        raise InputError(f"{model}: version {successor.number} is the champion already")
    if not reason.strip():
        raise InputError("the reason is empty; expected a sentence for those who ask later")


def _signed(
    decision: Mapping[str, Any], champion: ModelVersion | None, replaced: ModelVersion | None
) -> dict[str, Any]:
    """Add the user and the machine, and which version serves instead of which from then on."""
    return {
        **decision,
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "champion_version": champion.number if champion else None,
        "replaced_version": replaced.number if replaced else None,
    }
