"""What every kind of fine-tuning is made of: a model folder with its tokenizer, and records to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from maskling.errors import DataError, SettingsError
from maskling.finetune.recipe import FinetuneRecipe
from maskling.model.folder import encoder_config
from maskling.model.locate import find_model
from maskling.model.sentence_transformers import trained_max_length
from maskling.randomness import Shuffle
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.checkpoint import weights_fingerprint
from maskling.train.task import TrainingData

T = TypeVar("T")

# Longest sequences where nobody says: BERT's.
_LONGEST = 512


class RecordsMaterial(TrainingData[FinetuneRecipe]):
    """A model folder and its tokenizer, and what is known of the records.

    dev_name: of the records that choose the best weights; warnings: what a person should know of all of them.
    """

    settings = FinetuneRecipe
    dev_name: str

    def __init__(self, recipe: FinetuneRecipe) -> None:
        """Find the model. Raises SettingsError, ModelError or TokenizerError."""
        if not recipe.encoder.path:
            raise SettingsError("encoder.path: say which model to fine-tune; a folder, or a run of 'maskling train'")
        if not recipe.data.train:
            raise SettingsError("data.train: say what to learn from, with --train FILE")
        self.folder = find_model(recipe.encoder.path)
        self.tokens = Tokenizer.load(self.folder)
        self.tokenizer, self.place = self.tokens.fingerprint, recipe.data.train
        self.warnings: list[str] = []

    def initial_weights_id(self, recipe: FinetuneRecipe, known: str | None) -> str | None:
        """The checksum of the weights to begin with, None if only their shape is taken."""
        return None if recipe.encoder.fresh else weights_fingerprint(str(self.folder), known)

    def hold_out(self, recipe: FinetuneRecipe, records: Sequence[T], at_most: int) -> tuple[list[T], list[T]]:
        """Where no dev file was given: the records to learn from, and those that choose the best weights."""
        train, dev = held_out(records, recipe.data.dev_fraction, recipe.seed, at_most)
        self.dev_name = f"{len(dev):,} records held out of {Path(recipe.data.train).name}"
        self.warnings.append(f"no --dev was given: {self.dev_name} choose the best weights")
        return train, dev


def completed(recipe: FinetuneRecipe, folder: Path, records: int) -> FinetuneRecipe:
    """The recipe with its longest sequence, its steps, and an evaluation an epoch, for so many records to learn from.

    Raises SettingsError for a sequence longer than the model in `folder` takes.
    """
    most = encoder_config(folder).max_positions
    length = recipe.data.max_length or min(trained_max_length(folder) or _LONGEST, _LONGEST, most)
    if length > most:
        raise SettingsError(f"data.max_length = {length} is longer than the {most} tokens that {folder} has places for")
    train, epoch = recipe.train, max(1, round(records / recipe.train.batch_size))
    steps = train.steps or max(1, int(np.ceil(records * train.epochs / train.batch_size)))
    every = train.evaluate_every or (None if train.evaluations else min(epoch, steps))
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"max_length": length}),
            "train": train.model_copy(update={"steps": steps, "evaluate_every": every}),
        }
    )


def held_out(records: Sequence[T], fraction: float, seed: int, at_most: int) -> tuple[list[T], list[T]]:
    """The records to learn from and those held out, both in their order. Raises DataError if there are too few."""
    count = min(at_most, max(1, round(len(records) * fraction)))
    if count >= len(records):
        raise DataError(f"{len(records)} records are too few to hold some out; give more, or a --dev file")
    out = set(Shuffle(len(records), seed, "held out")[np.arange(count)].tolist())
    return (
        [record for place, record in enumerate(records) if place not in out],
        [record for place, record in enumerate(records) if place in out],
    )
