"""What every task of the engine shares that learns from records, with a head or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np

from maskling.data.labelled.examples import LabelledExamples
from maskling.data.labelled.targets import Targets
from maskling.data.labelled.windows import Windows
from maskling.finetune.kinds.kind import Records
from maskling.finetune.recipe import FinetuneRecipe
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.task import Supply, Task

M = TypeVar("M", bound=Any)

# Windows of a record that a person should hear of: of 512 tokens, a book.
_MANY_WINDOWS = 200


class Sequences(Protocol):
    """Records as sequences. targets: what is to be learnt of each; cut: how many records lost text."""

    @property
    def windows(self) -> Windows: ...
    @property
    def targets(self) -> Targets: ...
    @property
    def cut(self) -> int: ...


class Source(Protocol):
    """Where the records are from. warnings: what is odd about them."""

    train: Records
    tokens: Tokenizer
    warnings: list[str]


class RecordsTask(Task[FinetuneRecipe, M], ABC):
    """Records in random order, packed into rows of `recipe.data.max_length` tokens."""

    weights = {"loss": 1.0}  # noqa: RUF012  (never changed)
    evaluates = True

    def __init__(self, recipe: FinetuneRecipe, source: Source) -> None:
        assert recipe.data.max_length is not None
        self.recipe, self.row_tokens = recipe, recipe.data.max_length
        self._source = source

    @cached_property
    @abstractmethod
    def _train(self) -> Sequences:
        """What is learnt from."""

    @cached_property
    @abstractmethod
    def _dev(self) -> Sequences:
        """What chooses the best weights."""

    @property
    def warnings(self) -> list[str]:
        """What is odd about the records, and how many of them lose text."""
        cut = {"train": self._train.cut, "dev": self._dev.cut}
        lost = [
            f"{count:,} records of {name} are too long for {self.row_tokens} tokens and lose text; "
            f"--data.max-length raises it"
            for name, count in cut.items()
            if count
        ]
        return [*self._source.warnings, *lost, *self._longest()]

    def _longest(self) -> list[str]:
        """The record of the most windows, where they are so many that a step takes long for it."""
        counts = np.bincount(self._train.windows.record)
        number = int(counts.argmax())
        count = int(counts[number])
        if count <= _MANY_WINDOWS:
            return []
        return [f"{self.name_of(number)} is read in {count:,} windows, all in one step; cut it if that takes too long"]

    @cached_property
    def _examples(self) -> LabelledExamples[Any]:
        return LabelledExamples(
            self._train.windows,
            self._train.targets,
            seq_length=self.row_tokens,
            pad=self._source.tokens.special.pad,
            seed=self.recipe.seed,
            packing=self.recipe.packing,
        )

    def supply(self) -> Supply:
        """How much there is to learn from."""
        return Supply(len(self._train.windows.ids), self._examples.num_records, self.recipe.train.batch_size)

    def name_of(self, number: int) -> str:
        """Where a record is from."""
        return str(self._source.train[number].id)
