"""Data that tests of several packages share."""

import os
from pathlib import Path

import pytest

import flows  # noqa: F401  settles the environment before torch is imported
from widedeep.data.simulator import Simulation, simulate

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def kmrd_small() -> Path:
    """The real KMRD-small, which is never in the repository."""
    folder = Path(
        os.environ.get("WIDEDEEP_KMRD_SMALL", PROJECT.parent / "shared" / "data" / "kmrd-small")
    )
    if not (folder / "rates.csv").exists():
        pytest.skip(f"no copy of KMRD-small at {folder}; name one by WIDEDEEP_KMRD_SMALL")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory) -> Path:
    """A small world in KMRD's form, learnable in seconds."""
    folder = tmp_path_factory.mktemp("worlds") / "sim-small"
    settings = Simulation(
        users=1000,
        movies=80,
        ratings=20_000,
        seed=1,
        single_share=0.2,
        user_spread=0.7,
        movie_spread=0.7,
        taste_spread=1.5,
    )
    simulate(settings, folder)
    return folder
