"""What every fine-tuning run is made of: a model folder with its tokenizer, and records for train, dev and test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from maskling.adapters import is_adapter
from maskling.console import counted
from maskling.errors import SettingsError
from maskling.finetuning.hold_out import split_fold, split_held_out, split_randomly
from maskling.finetuning.kinds.kind import Records
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.model.folder import encoder_config
from maskling.model.locate import find_model
from maskling.model.sentence_transformers import trained_max_length
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.checkpoint import weights_fingerprint
from maskling.train.task import TrainingData

_T = TypeVar("_T")

# Default maximum sequence length: BERT's.
_DEFAULT_MAX_LENGTH = 512


class RecordsData(TrainingData[FinetuneRecipe]):
    """A model folder with its tokenizer, and records.

    dev: the records that select the best weights; dev_name: their source. test: None if there are none; test_name:
    their source.
    warnings: problems found in the records.
    """

    settings = FinetuneRecipe
    train: Records
    dev: Records
    test: Records | None
    dev_name: str
    test_name: str

    def __init__(self, recipe: FinetuneRecipe) -> None:
        """Open the model folder. Raises SettingsError, ModelError or TokenizerError."""
        if not recipe.encoder.path:
            raise SettingsError("encoder.path: name the model to fine-tune; a folder, or a run of 'maskling train'")
        if not recipe.data.train:
            raise SettingsError("data.train: name the training file, with --train FILE")
        self.folder = find_model(recipe.encoder.path)
        if recipe.lora.rank is not None and is_adapter(self.folder):
            raise SettingsError(
                f"lora.rank: {self.folder} is an adapter; merge it first: maskling export {self.folder} --out NEW"
            )
        self.tokens = Tokenizer.load(self.folder)
        self.tokenizer, self.path = self.tokens.fingerprint, recipe.data.train
        self.warnings: list[str] = []
        self.test, self.test_name = None, Path(recipe.data.test or "").name

    def initial_weights_id(self, recipe: FinetuneRecipe, known: str | None) -> str | None:
        """Return the checksum of the weights training begins with, None if only their shape is used."""
        return None if recipe.encoder.fresh else weights_fingerprint(str(self.folder), known)

    def split_fold(self, recipe: FinetuneRecipe, records: Sequence[_T]) -> tuple[list[_T], list[_T]]:
        """Split records into those to train on and those of the fold that this run is tested on."""
        data = recipe.data
        assert data.folds is not None
        assert data.fold is not None
        found = split_fold(records, data.folds, data.fold, recipe.seed)
        self.test_name = f"fold {data.fold} of {data.folds} of {Path(data.train).name}"
        if found.kept:
            self.warnings.append(
                f"{found.kept:,} records of {self.test_name} stay in train: no other record has their label"
            )
        return found.train, found.test

    def hold_out(self, recipe: FinetuneRecipe, records: Sequence[_T], at_most: int) -> tuple[list[_T], list[_T]]:
        """Split records into train and held-out dev records, for a run without a dev file."""
        split = split_held_out if recipe.data.hold_out == "grouped" else split_randomly
        train, dev = split(records, recipe.data.dev_fraction, recipe.seed, at_most)
        self.dev_name = f"{counted(len(dev), 'record')} held out of {Path(recipe.data.train).name}"
        self.warnings.append(f"no --dev was given: {self.dev_name} select the best weights")
        return train, dev


def complete_lengths(recipe: FinetuneRecipe, folder: Path, num_records: int) -> FinetuneRecipe:
    """Return the recipe with its maximum length, number of steps and evaluation interval (default: one per epoch).

    num_records: training records. Raises SettingsError for sequences longer than the model in `folder` takes.
    """
    limit = encoder_config(folder).max_positions
    length = recipe.data.max_length or min(
        trained_max_length(folder) or _DEFAULT_MAX_LENGTH, _DEFAULT_MAX_LENGTH, limit
    )
    if length > limit:
        raise SettingsError(f"data.max_length = {length} is longer than the {limit} positions of {folder}; lower it")
    train, epoch_steps = recipe.train, max(1, round(num_records / recipe.train.batch_size))
    steps = train.steps or max(1, int(np.ceil(num_records * train.epochs / train.batch_size)))
    every = train.evaluate_every or (None if train.evaluations else min(epoch_steps, steps))
    return recipe.model_copy(
        update={
            "data": recipe.data.model_copy(update={"max_length": length}),
            "train": train.model_copy(update={"steps": steps, "evaluate_every": every}),
        }
    )
