"""What is measured: any model with its tokenizer, such as `maskling.load` opens."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.recipe import Recipe, read_config


class Subject(Protocol):
    """A model to measure. `evaluate` and `infer` stand side by side: this is all that the one wants of the other."""

    @property
    def module(self) -> MaskedLM:
        """The network, in evaluation mode on the device of `compute`."""
        ...

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that belongs to it."""
        ...

    @property
    def compute(self) -> Compute:
        """Where and in which numbers to calculate."""
        ...

    @property
    def max_length(self) -> int:
        """Longest sequence in tokens, special ones included."""
        ...

    @property
    def folder(self) -> Path:
        """Where it was read from."""
        ...

    def need_head(self, purpose: str) -> None:
        """Raises ModelError if it has no masked-token head."""


def recipe_of(subject: Subject) -> Recipe | None:
    """The settings of the run that a model is of, None for a model of no run."""
    run = subject.folder.parent
    return read_config(run) if subject.folder.name == "model" and (run / "config.toml").is_file() else None
