"""What pretraining is made of: a prepared folder, its tokenizer, the examples of training and those of validation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskling.data.batch import Batch
from maskling.data.corruption import Corruption, Vocabulary
from maskling.data.examples import Examples
from maskling.data.masking.token import TokenMasking
from maskling.data.shards import Shards, open_shards
from maskling.errors import DataError, TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.pretrain_work import rows_at_once
from maskling.train.recipe import Recipe


@dataclass(frozen=True)
class Prepared:
    """A prepared folder, opened, and the tokenizer that wrote it."""

    shards: Shards
    tokenizer: Tokenizer

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> Prepared:
        """Open a prepared folder; `verify` compares every byte with the checksums.

        Raises DataError, or TokenizerError if another tokenizer lies beside the shards.
        """
        shards = open_shards(folder, verify)
        tokenizer = Tokenizer.load(shards.tokenizer_folder)
        if shards.manifest.tokenizer != tokenizer.fingerprint:
            raise TokenizerError(
                f"{shards.folder} was written by tokenizer {shards.manifest.tokenizer}, but the one in "
                f"{shards.tokenizer_folder} is {tokenizer.fingerprint}; restore it, or run 'maskling prepare' again"
            )
        return cls(shards, tokenizer)

    @property
    def unigram_entropy(self) -> float:
        """Nats a token of the train split: the loss of a model that knows only how often each token occurs."""
        return self.shards.manifest.unigram_entropy

    def examples(self, recipe: Recipe) -> Examples:
        """The examples to train on. Raises DataError where the text cannot give such examples."""
        return Examples(
            split=self.shards.split("train"),
            vocabulary=Vocabulary.of(self.tokenizer),
            pairing=recipe.pairing,
            masking=recipe.masking,
            corruption=recipe.corruption,
            packing=recipe.packing,
            seq_length=recipe.data.seq_length,
            seed=recipe.seed,
        )

    def validation(self, recipe: Recipe) -> list[Batch]:
        """The examples to measure on, with fixed masks: the same for every seed and masking, so that runs compare.

        Raises DataError where there is no text for them.
        """
        examples = Examples(
            split=self.shards.split("validation"),
            vocabulary=Vocabulary.of(self.tokenizer),
            pairing=recipe.pairing,
            masking=TokenMasking(rate=recipe.evaluate.rate),
            corruption=Corruption(),
            packing=recipe.packing,
            seq_length=recipe.data.seq_length,
            seed=0,
        )
        batches = list(examples.fixed(recipe.evaluate.examples, recipe.evaluate.rate, rows_at_once(recipe)))
        if not any(len(batch.labels) for batch in batches):
            raise DataError("the validation split has nothing to predict; set shards.validation_fraction higher")
        return batches
