"""Data of pretraining: a prepared folder, its tokenizer, examples for training and validation, batches."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskling.data.assemble import Batch
from maskling.data.examples import Examples
from maskling.data.masking.corruption import Corruption, MaskingVocabulary
from maskling.data.masking.token import TokenMasking
from maskling.data.shards import Shards, open_shards
from maskling.errors import DataError, TokenizerError
from maskling.model.config import flops_per_token
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.distributed import Ranks
from maskling.train.recipe import Recipe
from maskling.train.settings import MICRO_BATCH_TOKENS
from maskling.train.task import SkippedRanges, StepBatches, data_step


@dataclass(frozen=True)
class PreparedData:
    """An open prepared folder, and the tokenizer that wrote it."""

    shards: Shards
    tokenizer: Tokenizer

    @classmethod
    def open(cls, folder: Path, verify: bool = False) -> PreparedData:
        """Open a prepared folder; `verify` compares every byte with the checksums.

        Raises DataError, or TokenizerError if the folder holds another tokenizer than that of its shards.
        """
        shards = open_shards(folder, verify)
        tokenizer = Tokenizer.load(shards.tokenizer_folder, *shards.manifest.word_rules)
        if shards.manifest.tokenizer != tokenizer.fingerprint:
            raise TokenizerError(
                f"{shards.folder} was written by tokenizer {shards.manifest.tokenizer}, but the one in "
                f"{shards.tokenizer_folder} is {tokenizer.fingerprint}; restore it, or run 'maskling prepare' again"
            )
        return cls(shards, tokenizer)

    @property
    def unigram_entropy(self) -> float:
        """Nats per token of the train split: the loss of guessing by token frequency."""
        return self.shards.manifest.unigram_entropy

    def examples(self, recipe: Recipe) -> Examples:
        """Return the training examples. Raises DataError if the text is too short for them."""
        return Examples(
            split=self.shards.split("train"),
            vocabulary=MaskingVocabulary.of(self.tokenizer),
            pairing=recipe.pairing,
            masking=recipe.masking,
            corruption=recipe.corruption,
            packing=recipe.packing,
            seq_length=recipe.data.seq_length,
            seed=recipe.seed,
        )

    def validation(self, recipe: Recipe) -> list[Batch]:
        """Return the validation examples, with fixed masks: equal for every seed and masking, so that runs compare.

        Raises DataError if there is no text for them.
        """
        examples = Examples(
            split=self.shards.split("validation"),
            vocabulary=MaskingVocabulary.of(self.tokenizer),
            pairing=recipe.pairing,
            masking=TokenMasking(rate=recipe.evaluate.rate),
            corruption=Corruption(),
            packing=recipe.packing,
            seq_length=recipe.data.seq_length,
            seed=0,
        )
        batches = list(examples.fixed(recipe.evaluate.examples, recipe.evaluate.rate, micro_batch_rows(recipe)))
        if not any(len(batch.labels) for batch in batches):
            raise DataError("the validation split has nothing to predict; set shards.validation_fraction higher")
        return batches


def build_batches(
    step: int, recipe: Recipe, examples: Examples, ranks: Ranks, skipped_ranges: SkippedRanges = ()
) -> StepBatches:
    """Collate the batches of `step`, a function of the recipe, the step, and the text that the run has left out."""
    rate = recipe.masking.rate_at(step / recipe.train.steps)
    whole = examples.step(data_step(step, skipped_ranges), recipe.train.batch_size, rate)
    batches = [batch for batch in whole.batches(micro_batch_rows(recipe), ranks.rank, ranks.size) if batch.rows]
    return StepBatches(
        step=step,
        batches=batches,
        counts={"mlm": whole.num_predictions, "pair": whole.num_pairs},
        num_tokens=whole.num_tokens,
        fill=whole.num_tokens / (whole.num_rows * recipe.data.seq_length),
        flops_per_token=flops_per_token(recipe.model, recipe.data.seq_length, rate),
        example_ids=whole.global_index,
        sizes=[len(batch.first_positions) for batch in batches],
        facts={"mask_rate": rate},
    )


def micro_batch_rows(recipe: Recipe) -> int:
    """Return the rows per micro-batch."""
    return max(1, (recipe.system.micro_batch_tokens or MICRO_BATCH_TOKENS) // recipe.data.seq_length)
