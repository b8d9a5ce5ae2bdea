"""A model version is a value."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from widedeep.model.version import ModelVersion


def test_a_version_cannot_be_changed():
    version = ModelVersion("3", "abc", Path("models/abc"))
    assert version == ModelVersion("3", "abc", Path("models/abc"))
    with pytest.raises(FrozenInstanceError):
        version.number = "4"
