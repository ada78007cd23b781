"""What every test may ask for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile("maskling", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("maskling")


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """A run sets torch's threads for the whole process; another number of them rounds otherwise."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real text and labelled sets, or a skip that says where it was looked for."""
    root = Path(os.environ.get("MASKLING_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (root / "english").is_dir():
        pytest.skip(f"the shared data is not at {root}; set MASKLING_DATA to its folder")
    return root
