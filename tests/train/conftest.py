"""A prepared folder and a recipe that a test can train in a second."""

from __future__ import annotations

from pathlib import Path

import pytest

from toy_runs import Make, recipes, toy

__all__ = ["recipe_of", "toy"]


@pytest.fixture(scope="session")
def recipe_of(toy: Path) -> Make:
    """Make recipes: recipe_of({'train.steps': 7})."""
    return recipes(toy)
