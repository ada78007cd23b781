"""Runs to be disturbed, and the same runs left in peace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import toy_corpus
from chaos_runs import Make
from maskling.config import Layer, overrides
from maskling.train.pretrain import pretrain
from maskling.train.recipe import Recipe, read_recipe


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder."""
    return toy_corpus.write(tmp_path_factory.mktemp("toy") / "one")


@pytest.fixture(scope="session")
def recipe_of(toy: Path) -> Make:
    """Makes recipes of tiny runs with dropout, accumulation, evaluations and a checkpoint every other step."""
    base = {
        "model": {"kind": "modern", "hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 48},
        "data": {"path": str(toy), "seq_length": 32},
        "train": {"steps": 24, "batch_size": 8, "evaluate_every": 6, "save_every": 2, "log_every": 3},
        "evaluate": {"examples": 40},
        "system": {"dtype": "fp32", "device": "cpu", "micro_batch_tokens": 128, "threads": 1},
    }
    base["model"] |= {"dropout": 0.1, "attention_dropout": 0.1}

    def make(changes: dict[str, Any] | None = None) -> Recipe:
        return read_recipe([Layer("base", base), *overrides((changes or {}).items())], default_preset=None).settings

    return make


@pytest.fixture(scope="session")
def in_peace(recipe_of: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of the plain recipe, never disturbed."""
    folder = tmp_path_factory.mktemp("in-peace")
    for _ in pretrain(recipe_of(), folder):
        pass
    return folder
