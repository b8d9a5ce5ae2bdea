"""Which registered model a command means."""

from dataclasses import dataclass

from flows.model_choice import chosen_model
from tasks.registry import Registry
from tasks.tracking import Tracker
from widedeep.errors import InputError
from widedeep.home import Home
from widedeep.model.version import ModelVersion


@dataclass(frozen=True, slots=True)
class Registered:
    """A version of a model, and the tracker that knows it."""

    tracker: Tracker
    model: str
    version: ModelVersion

    @property
    def title(self) -> str:
        """Both names, for people."""
        return f"{self.model} version {self.version.number}"


def choose(home: Home, model: str | None, version: str) -> Registered:
    """The version (a number or an alias) of `model`, or of the only one in the home.

    Raises:
        InputError: There is no such model or version, or several models to choose from.
    """
    tracker = _tracker(home)
    chosen = _model(tracker.models(), model)
    found = tracker.find(chosen, version)
    if found is None:
        wanted = "its number or an alias (champion, previous, challenger) is wanted"
        raise InputError(f"{chosen} has no version {version!r}; {wanted}, see widedeep status")
    return Registered(tracker, chosen, found)


def registry_of(home: Home, model: str | None) -> Registry:
    """The registry of `model`, or of the only one in the home; raises InputError as `choose`."""
    tracker = _tracker(home)
    return Registry(home, tracker, _model(tracker.models(), model))


def _tracker(home: Home) -> Tracker:
    if not home.tracked:
        raise InputError(f"no model yet in {home.root}; begin with: widedeep retrain")
    return Tracker(home)


def _model(models: list[str], wanted: str | None) -> str:
    if not models:
        raise InputError("no model yet; begin with: widedeep retrain")
    return chosen_model(models, wanted)
