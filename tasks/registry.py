"""Who serves: every move of the champion is recorded before it is made.

The record is the truth. A process that was killed between record and move has its move finished by
the next one that holds the home; a champion that somebody moved in MLflow itself is taken as it is,
and recorded.
"""

import getpass
import socket
from collections.abc import Mapping
from typing import Any

from tasks.tracking import Tracker
from widedeep import decision_log
from widedeep.errors import InputError
from widedeep.home import Home
from widedeep.model.version import ModelVersion

PROMOTE = "promote"
ROLLBACK = "rollback"
OUTSIDE = "moved outside widedeep"


class Registry:
    """The champion of one registered model, and its history.

    Only for the holder of the home's lock.
    """

    def __init__(self, home: Home, tracker: Tracker, model: str) -> None:
        self._tracker = tracker
        self.model = model
        self._folder = home.decisions / model

    def champion(self) -> ModelVersion | None:
        """The version that serves, once a move that was cut off is finished."""
        self._settle()
        return self._tracker.champion(self.model)

    def decide(
        self,
        decision: Mapping[str, Any],
        champion: ModelVersion | None,
        successor: ModelVersion | None,
    ) -> ModelVersion | None:
        """Record a decision and, if there is a successor to `champion`, let it serve.

        Returns:
            What serves then.

        Raises:
            ChampionChangedError: There is one, but `champion` serves no more; nothing was done.
        """
        if successor is None:
            serving = self._tracker.champion(self.model)
            decision_log.record(self._folder, _signed(decision, serving, serving))
            return serving
        self._tracker.expect_champion(self.model, champion)
        pending = decision_log.begin(self._folder, _signed(decision, successor, champion))
        self._tracker.promote(self.model, successor.number, replacing=champion)
        decision_log.finish(pending)
        return successor

    def candidate(self, version: str, reason: str) -> ModelVersion:
        """A version (its number or an alias) that `promote` would let serve.

        Raises:
            InputError: There is no such version, it serves already, or no reason was given.
        """
        found = self._tracker.find(self.model, version)
        if found is None:
            raise InputError(f"{self.model} has no version {version!r}; see widedeep status")
        _check(self.model, found, self.champion(), reason)
        return found

    def promote(self, version: ModelVersion, reason: str) -> None:
        """Let a candidate serve, by hand."""
        self._move(version, self.champion(), PROMOTE, reason)

    def roll_back(self, reason: str) -> ModelVersion:
        """Let the version serve that served before the champion; returns it.

        Raises:
            InputError: There is none, or no reason was given.
        """
        champion = self.champion()
        previous = self._tracker.previous(self.model)
        if previous is None:
            raise InputError(f"{self.model} has no previous champion to go back to")
        self._move(previous, champion, ROLLBACK, reason)
        return previous

    def _move(
        self, to: ModelVersion, champion: ModelVersion | None, action: str, reason: str
    ) -> None:
        _check(self.model, to, champion, reason)
        decision = {"version": to.number, "action": action, "reason": reason.strip()}
        self.decide(decision, champion, to)

    def _settle(self) -> None:
        """Finish a move that was cut off, and record one that was made elsewhere."""
        serving = self._tracker.champion(self.model)
        number = serving.number if serving else None
        pending = decision_log.pending(self._folder)
        if pending is not None:
            cut_off = decision_log.read(pending)
            if number == cut_off["replaced_version"]:
                number = cut_off["champion_version"]
                self._tracker.promote(self.model, number, replacing=serving)
            decision_log.finish(pending)
        decisions = decision_log.history(self._folder)
        known = decisions[-1]["champion_version"] if decisions else None
        if number != known:
            outside = {"version": number, "action": OUTSIDE, "reason": "found so in MLflow"}
            replaced = self._tracker.find(self.model, known) if known else None
            decision_log.record(self._folder, _signed(outside, serving, replaced))


def _check(model: str, to: ModelVersion, champion: ModelVersion | None, reason: str) -> None:
    if champion is not None and to.number == champion.number:
        raise InputError(f"{model}: version {to.number} is the champion already")
    if not reason.strip():
        raise InputError("the reason is empty; a sentence for those who ask later is wanted")


def _signed(
    decision: Mapping[str, Any], champion: ModelVersion | None, replaced: ModelVersion | None
) -> dict[str, Any]:
    """With who decided, and which version serves instead of which from then on."""
    return {
        **decision,
        "by": f"{getpass.getuser()}@{socket.gethostname()}",
        "champion_version": champion.number if champion else None,
        "replaced_version": replaced.number if replaced else None,
    }
