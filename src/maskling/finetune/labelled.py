"""What fine-tuning is made of: a model folder, and files of labelled records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from maskling.errors import DataError, SettingsError
from maskling.export.sentence_transformers import trained_length
from maskling.files import checksum, fingerprint
from maskling.finetune.kinds.kind import Kind, Records
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.task import Finetuning
from maskling.model.encoder import encoder_config
from maskling.model.place import find_model
from maskling.randomness import Shuffle
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.beginning import weights_fingerprint
from maskling.train.task import Material
from maskling.train.world import World

T = TypeVar("T")

# Longest sequences where nobody says: BERT's.
_LONGEST = 512


class Labelled(Material[FinetuneRecipe]):
    """A model folder and its tokenizer; the records to learn from, to choose by, and to be measured on.

    warnings: what a person should know of them.
    """

    settings = FinetuneRecipe

    def __init__(self, recipe: FinetuneRecipe) -> None:
        """Read everything. Raises SettingsError, ModelError or DataError."""
        if not recipe.encoder.path:
            raise SettingsError("encoder.path: say which model to fine-tune; a folder, or a run of 'maskling train'")
        if not recipe.data.train:
            raise SettingsError("data.train: say which file to learn from, with --train FILE")
        kind, data = recipe.task, recipe.data
        assert isinstance(kind, Kind)
        self.kind, self.folder = kind, find_model(recipe.encoder.path)
        self.tokens = Tokenizer.load(self.folder)
        self.tokenizer, self.place = self.tokens.fingerprint, data.train
        self.warnings: list[str] = []
        self.train: Records = self._read(recipe, data.train)
        self.dev: Records
        if data.dev is None:
            self.train, self.dev = held_out(self.train, data.dev_fraction, recipe.seed)
            self.dev_name = f"{len(self.dev):,} records held out of {Path(data.train).name}"
            self.warnings.append(f"no --dev was given: {self.dev_name} choose the best weights")
        else:
            self.dev, self.dev_name = self._read(recipe, data.dev), Path(data.dev).name
        self.test = self._read(recipe, data.test) if data.test is not None else None
        self.outputs = kind.outputs(self.train)
        self.warnings += kind.check(self.train, {"dev": self.dev} | ({"test": self.test} if self.test else {}))
        files = [data.train, data.dev] if data.dev is not None else [data.train]
        self.data = fingerprint([checksum(Path(file)) for file in files])

    @classmethod
    def open(cls, recipe: FinetuneRecipe, checks: bool) -> Labelled:  # noqa: ARG003  (reading checks every record)
        """Read what `recipe` names."""
        return cls(recipe)

    def completed(self, recipe: FinetuneRecipe, written: FinetuneRecipe | None) -> FinetuneRecipe:  # noqa: ARG002
        """The recipe with its longest sequence, its steps, and an evaluation an epoch."""
        return completed(recipe, self.folder, len(self.train))

    def origin(self, recipe: FinetuneRecipe, known: str | None) -> str | None:
        """The checksum of the weights to begin with, None if only their shape is taken."""
        return None if recipe.encoder.fresh else weights_fingerprint(str(self.folder), known)

    def task(self, recipe: FinetuneRecipe, world: World) -> Finetuning:  # noqa: ARG002  (records are dealt step by step)
        """The task of a completed recipe."""
        return Finetuning(recipe, self)

    def _read(self, recipe: FinetuneRecipe, path: str) -> Records:
        records, warnings = self.kind.read(path, recipe.columns)
        self.warnings += warnings
        return records


def completed(recipe: FinetuneRecipe, folder: Path, records: int) -> FinetuneRecipe:
    """The recipe with its longest sequence, its steps, and an evaluation an epoch, for so many records to learn from.

    Raises SettingsError for a sequence longer than the model in `folder` takes.
    """
    most = encoder_config(folder).max_positions
    length = recipe.data.max_length or min(trained_length(folder) or _LONGEST, _LONGEST, most)
    if length > most:
        raise SettingsError(f"data.max_length = {length} is longer than the {most} tokens that {folder} has places for")
    train, epoch = recipe.train, max(1, round(records / recipe.train.batch_size))
    steps = train.steps or max(1, int(np.ceil(records * train.epochs / train.batch_size)))
    every = train.evaluate_every or min(epoch, steps)
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"max_length": length}),
            "train": train.model_copy(update={"steps": steps, "evaluate_every": every}),
        }
    )


def held_out(records: Sequence[T], fraction: float, seed: int, at_most: int | None = None) -> tuple[list[T], list[T]]:
    """The records to learn from and those held out, both in their order. Raises DataError if there are too few."""
    count = max(1, round(len(records) * fraction))
    count = count if at_most is None else min(count, at_most)
    if count >= len(records):
        raise DataError(f"{len(records)} records are too few to hold some out; give more, or a --dev file")
    out = set(Shuffle(len(records), seed, "held out")[np.arange(count)].tolist())
    return (
        [record for place, record in enumerate(records) if place not in out],
        [record for place, record in enumerate(records) if place in out],
    )
