"""The settings that a search found best, kept for each registered model."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from widedeep.draft import drafted
from widedeep.errors import InputError
from widedeep.home import Home
from widedeep.model.presets import Preset, preset
from widedeep.model.search_space import Setting, with_settings

TUNED = "tuned"


def keep(home: Home, model: str, settings: Mapping[str, Setting], validation_loss: float) -> Path:
    """Write settings where `named` finds them; returns the file."""
    path = _file(home, model)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = {"settings": dict(settings), "validation_loss": validation_loss}
    with drafted(path) as draft:
        draft.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return path


def named(home: Home, model: str, name: str) -> Preset:
    """A preset by its name, `TUNED` being what the last search on a model's data found best.

    Raises:
        InputError: There is none of that name, or no search yet.
    """
    if name != TUNED:
        return preset(name)
    path = _file(home, model)
    if not path.exists():
        raise InputError(f"there are no tuned settings for {model}; begin with: widedeep tune")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return with_settings(preset("default"), found["settings"], TUNED)


def _file(home: Home, model: str) -> Path:
    return home.root / TUNED / f"{model}.json"
