"""Runs over toy text that take a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toy_corpus
from maskling.config import Layer, overrides
from maskling.train.recipe import Recipe, read_recipe

Make = Callable[..., Recipe]

# The shape of a model of the public functions, by settings.
SHAPE = {
    "model.hidden_size": 32,
    "model.num_layers": 2,
    "model.num_heads": 2,
    "model.intermediate_size": 64,
    "model.max_positions": 64,
    "data.seq_length": 32,
    "train.batch_size": 8,
    "system.threads": 1,
}


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder."""
    return toy_corpus.write(tmp_path_factory.mktemp("toy") / "one")


def recipes(data: Path, usual: dict[str, Any] | None = None) -> Make:
    """Return a function that makes recipes, as in make({'train.steps': 7}), of a tiny run over `data`.

    usual: changes to all of them.
    """
    base = {
        "model": {"kind": "modern", "hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48},
        "data": {"path": str(data), "seq_length": 32},
        "train": {"steps": 12, "batch_size": 8, "evaluate_every": 4, "log_every": 3},
        "evaluate": {"examples": 40},
        "system": {"dtype": "fp32", "device": "cpu", "micro_batch_tokens": 128},
    }

    def make(changes: dict[str, Any] | None = None) -> Recipe:
        layers = [Layer("base", base), Layer("usual", usual or {}), *overrides((changes or {}).items())]
        return read_recipe(layers, default_preset=None).settings

    return make
