"""Runs to interrupt, and the same runs uninterrupted."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskling.train.pretrain import pretrain
from toy_runs import Make, recipes, toy

__all__ = ["in_peace", "recipe_of", "toy"]


@pytest.fixture(scope="session")
def recipe_of(toy: Path) -> Make:
    """Make recipes of tiny runs with dropout, gradient accumulation, evaluations and a checkpoint every other step."""
    usual = {
        "model": {"dropout": 0.1, "attention_dropout": 0.1},
        "train": {"steps": 24, "evaluate_every": 6, "save_every": 2},
        "system": {"threads": 1},
    }
    return recipes(toy, usual)


@pytest.fixture(scope="session")
def in_peace(recipe_of: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run of the plain recipe."""
    folder = tmp_path_factory.mktemp("in-peace")
    for _ in pretrain(recipe_of(), folder):
        pass
    return folder
