"""A prepared folder and a recipe that a test can train in a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toy_corpus
from maskling.config import Layer, overrides
from maskling.train.recipe import Recipe, read_recipe

Make = Callable[..., Recipe]


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder."""
    return toy_corpus.write(tmp_path_factory.mktemp("toy") / "one")


@pytest.fixture(scope="session")
def recipe_of(toy: Path) -> Make:
    """Makes recipes: recipe_of({'train.steps': 7})."""
    base = {
        "model": {"kind": "modern", "hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48},
        "data": {"path": str(toy), "seq_length": 32},
        "train": {"steps": 12, "batch_size": 8, "evaluate_every": 4, "log_every": 3},
        "evaluate": {"examples": 40},
        "system": {"dtype": "fp32", "device": "cpu", "micro_batch_tokens": 128},
    }

    def make(changes: dict[str, Any] | None = None) -> Recipe:
        return read_recipe([Layer("base", base), *overrides((changes or {}).items())], default_preset=None).settings

    return make
