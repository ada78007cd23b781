"""Pretraining: masked-token prediction, and sentence pairs if the recipe has them, evaluated on held-out text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from maskling.console import agreeing
from maskling.data import mask_rates
from maskling.data.assemble import Batch
from maskling.data.examples import Examples
from maskling.data.masking.bert2018 import Bert2018Masking
from maskling.errors import DataError, ModelError, SettingsError, TokenizerError
from maskling.model.build import build_masked_lm
from maskling.model.config import ModelConfig
from maskling.model.device import Compute
from maskling.model.folder import encoder_config, read_folder
from maskling.model.locate import model_folder
from maskling.model.masked_lm import MaskedLM
from maskling.model.memory import PROCESS_BYTES, num_parameters
from maskling.model.resize import resize_vocabulary
from maskling.objectives.losses import Encode, TensorBatch, Term, loss_terms
from maskling.objectives.measure import measure_masked_lm
from maskling.objectives.samples import Samples
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.checkpoint import weights_fingerprint
from maskling.train.distributed import Ranks
from maskling.train.events import Baseline, Event, Metrics, Started
from maskling.train.export_run import write_model
from maskling.train.memory_fit import fit_to_memory, resident_bytes
from maskling.train.prepared_data import PreparedData, build_batches
from maskling.train.recipe import Recipe
from maskling.train.run import run_training, set_threads, setup_device, started_event
from maskling.train.task import Best, Criterion, DataCounts, SkippedRanges, StepBatches, Task, TrainingData

# The mask rate is measured on so many tokens before the first step.
_MASK_RATE_TOKENS = 1 << 16


def pretrain(
    recipe: Recipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Train a model, or resume the run in `run_dir`, yielding events: `for event in pretrain(recipe, run_dir)`.

    Under torchrun, each process is one rank of the same run; all yield the same steps and evaluations, and rank 0 what
    it writes.

    stop: called after every step; if it returns True on any rank, a checkpoint is written and the run ends, to be
    resumed by the same call. So does leaving the loop, which loses the steps since the last checkpoint. torch's global
    generator is reseeded at each step, and its number of threads set.

    force_new: start anew even if there is a run; that is moved to RUN.1 (or the next free number), never deleted.

    Raises CheckpointError if `run_dir` holds another run, is in use, or cannot be written to; SettingsError, DataError,
    TokenizerError or ModelError if settings, data, tokenizer and model do not fit together; NumericsError if losses,
    gradients or weights are not finite; RankError if another rank has failed.
    """
    return run_training(recipe, run_dir, open_pretraining_data, stop, force_new)


def open_pretraining_data(recipe: Recipe, verify: bool) -> TrainingData[Recipe]:
    """Open the prepared folder of `recipe`; `verify` compares every byte with its checksum, if the recipe asks for it.

    Raises DataError, or TokenizerError if the folder holds another tokenizer than that of its shards.
    """
    prepared = PreparedData.open(Path(recipe.data.path), verify=recipe.data.verify and verify)
    return PretrainingData(prepared, model_folder(recipe.init) if recipe.init is not None else None)


class PretrainingData(TrainingData[Recipe]):
    """A prepared folder, and the model folder of the initial weights, if they are given."""

    settings = Recipe

    def __init__(self, prepared: PreparedData, init_folder: Path | None) -> None:
        self._prepared, self._init_folder = prepared, init_folder
        self.data, self.tokenizer = prepared.shards.manifest.fingerprint, prepared.tokenizer.fingerprint
        self.path = str(prepared.shards.folder)

    def complete_recipe(self, recipe: Recipe, saved: Recipe | None) -> Recipe:
        """Fill in a model that fits the tokenizer, and the steps of `train.epochs`."""
        return self._with_steps(complete_model_config(recipe, self._init_folder, self._prepared.tokenizer, saved))

    def _with_steps(self, recipe: Recipe) -> Recipe:
        train = recipe.train
        if train.epochs is None or train.budget is not None:
            return recipe
        examples = self._prepared.examples(recipe)
        steps = math.ceil(train.epochs * examples.num_examples / examples.examples_per_step(train.batch_size))
        return recipe.with_train(train.model_copy(update={"steps": max(1, steps)}))

    def initial_weights_id(self, recipe: Recipe, known: str | None) -> str | None:
        """Return the checksum of the weights in `recipe.init`."""
        return weights_fingerprint(recipe.init, known)

    def build_task(self, recipe: Recipe, ranks: Ranks) -> Pretraining:
        """Build the task of a completed recipe."""
        return Pretraining(recipe, self._prepared, self._init_folder, ranks)


class Pretraining(Task[Recipe, MaskedLM]):
    """Masked-token prediction, and pairs."""

    criterion = Criterion("mlm_loss", words="loss")

    def __init__(self, recipe: Recipe, prepared: PreparedData, init_folder: Path | None, ranks: Ranks) -> None:
        self.recipe, self.row_tokens = recipe, recipe.data.seq_length
        self._prepared, self._init_folder, self._ranks = prepared, init_folder, ranks
        self.baseline = Baseline(
            name="unigram",
            loss=prepared.unigram_entropy,
            knows="token frequencies",
            else_causes="many repeated lines, or a vocabulary that does not fit the text",
        )

    @property
    def evaluates_initial(self) -> bool:
        """Whether the initial weights are those of recipe.init."""
        return self.recipe.init is not None

    @property
    def mask_rate(self) -> float:
        """Highest mask rate of the run."""
        return max(self.recipe.masking.rate, self.recipe.masking.final_rate or 0.0)

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the masked-token loss and the pair loss."""
        return {"mlm": 1.0, "pair": self.recipe.train.pair_weight}

    @cached_property
    def _examples(self) -> Examples:
        return self._prepared.examples(self.recipe)

    @cached_property
    def _validation(self) -> tuple[Sequence[Batch], list[str]]:
        """Share of this rank of the validation batches, or none and a warning if there is no text for them."""
        try:
            return self._prepared.validation(self.recipe)[self._ranks.rank :: self._ranks.size], []
        except DataError as error:
            return (), [f"there will be no evaluation, and the last weights count as the best: {error}"]

    @property
    def warnings(self) -> list[str]:
        """Warnings of missing held-out text, of new rows of the embedding, and of a mask rate that is not met."""
        return [*self._validation[1], *self._growth(), *self._mask_rate_warnings]

    def _growth(self) -> list[str]:
        if self._init_folder is None or not self._init_folder.exists():
            return []
        before, now = encoder_config(self._init_folder).vocab_size, self.recipe.model.vocab_size
        if before >= now:
            return []
        rows = agreeing(now - before, "rows were")
        return [
            f"{self._init_folder} has rows for {before:,} tokens and its tokenizer {now:,}: {rows} "
            f"added to the embedding and the output layer, each the mean of the others"
        ]

    @cached_property
    def _mask_rate_warnings(self) -> list[str]:
        masking = self.recipe.masking
        if isinstance(masking, Bert2018Masking):
            return []  # does not meet its rate by design
        measured = self._examples.mask_rate(_MASK_RATE_TOKENS, masking.rate_at(0.0))
        line = mask_rates.warning({masking.kind: measured})
        return [line] if line else []

    @property
    def evaluates(self) -> bool:
        """Whether there is held-out text."""
        return not self._validation[1]

    def supply(self) -> DataCounts:
        """Return the amount of training text."""
        return DataCounts(
            tokens=self._prepared.shards.split("train").num_tokens,
            examples_per_epoch=self._examples.num_examples,
            examples_per_step=self._examples.examples_per_step(self.recipe.train.batch_size),
            documents=self._prepared.shards.split("train").num_documents,
            vocabulary=self._prepared.tokenizer.vocab_size,
        )

    def first_module(self) -> MaskedLM:
        """Build the model with random weights from the seed, or with those of recipe.init."""
        if self._init_folder is None:
            return self.empty_module()
        # A head that the folder lacks is initialized from the seed.
        pair_head = self.recipe.model.pair_head
        module = read_folder(self._init_folder, pair_head=pair_head, seed=self.recipe.seed).module
        if module.config.vocab_size < self.recipe.model.vocab_size:
            module = resize_vocabulary(module, self.recipe.model.vocab_size)
        module.config = self.recipe.model
        return module

    def empty_module(self) -> MaskedLM:
        """Build the model for a checkpoint to fill; the folder of recipe.init may be gone."""
        return build_masked_lm(self.recipe.model, self.recipe.seed)

    def batch_builder(self, ranks: Ranks, skipped_ranges: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """Return a function that collates the batches of a step."""
        return partial(
            build_batches, recipe=self.recipe, examples=self._examples, ranks=ranks, skipped_ranges=skipped_ranges
        )

    def terms(self, module: MaskedLM, batch: Batch, forward: Encode, device: torch.device) -> dict[str, Term]:
        """Compute the loss terms 'mlm', and 'pair' if the batch has pairs."""
        return loss_terms(module, TensorBatch.from_batch(batch, device), forward)

    def evaluate(self, module: MaskedLM, compute: Compute, ranks: Ranks) -> Metrics:
        """Compute loss and accuracies at fixed masks, beside the loss of guessing by token frequency."""
        measured = measure_masked_lm(module, self._validation[0], compute, ranks.all_reduce)
        entropy = self._prepared.unigram_entropy
        return {**asdict(measured), "perplexity": measured.perplexity, "unigram_entropy": entropy}

    @cached_property
    def _samples(self) -> Samples:
        # Rank 0 writes the log, and has the first of the batches.
        batches = self._validation[0] if self._ranks.is_main else ()
        return Samples(batches, self._prepared.tokenizer, self.recipe.evaluate.samples)

    def samples(self, module: MaskedLM, compute: Compute) -> list[list[Any]]:
        """Fill the first held-out examples."""
        return self._samples.fill(module, compute)

    def write(self, run_dir: Path, module: MaskedLM, best: Best | None) -> Path:
        """Write `run_dir/model`."""
        return write_model(run_dir, module, self._prepared, self.recipe, best)


def describe_run(recipe: Recipe) -> Started:
    """Describe a new run of this recipe, in one process on this machine, without a step or a model: `train --show`.

    The steps are those of the settings, also if train.budget will decide them. On a GPU memory is what torch allocates.
    Sets torch's number of threads, as `pretrain` does, and raises what it raises for settings, text, tokenizer and
    model that do not fit together.
    """
    set_threads(recipe.system)
    compute = setup_device(recipe.system)
    text = open_pretraining_data(recipe, verify=False)
    task = text.build_task(text.complete_recipe(recipe, None), Ranks())
    model = task.recipe.model
    before = resident_bytes() or 0
    task.supply()
    grown = max(0, (resident_bytes() or 0) - before)
    process_bytes = 0 if compute.device.type == "cuda" else PROCESS_BYTES + grown
    fit = fit_to_memory(task, model, compute, Ranks(), process_bytes=process_bytes)
    return started_event(task, fit, fit.describe(compute, 1), num_parameters(model), text.path)


def complete_model_config(
    recipe: Recipe, init_folder: Path | None, tokenizer: Tokenizer, written: Recipe | None
) -> Recipe:
    """Fill in a model configuration that fits the tokenizer, that of `init_folder` if given.

    written: the recipe in the run folder; if it began from the same folder, that may be gone by now.
    Raises SettingsError, ModelError or TokenizerError if they do not fit together.
    """
    if init_folder is None:
        return _with_model(recipe, _for_tokenizer(recipe.model, tokenizer, recipe.pairing.has_pairs))
    if not init_folder.exists() and written is not None and written.init == recipe.init:
        return _with_model(recipe, written.model)
    if not init_folder.exists():
        raise ModelError(f"{recipe.init}: there is no such folder; init names the model to start from")
    own = Tokenizer.load(init_folder)
    if not own.matches(tokenizer.fingerprint):
        raise TokenizerError(
            f"{init_folder} has tokenizer {own.fingerprint}, but {recipe.data.path} was prepared with "
            f"{tokenizer.fingerprint}; prepare the text again with --tokenizer.path {init_folder}"
        )
    config = read_folder(init_folder, pair_head=True if recipe.pairing.has_pairs else None).config
    if config.vocab_size < tokenizer.vocab_size:  # tokens were added to the tokenizer: first_module adds the rows
        config = config.model_copy(update={"vocab_size": tokenizer.vocab_size})
    return _with_model(recipe, _for_tokenizer(config, tokenizer, recipe.pairing.has_pairs))


def _for_tokenizer(config: ModelConfig, tokenizer: Tokenizer, has_pairs: bool) -> ModelConfig:
    if 0 < config.vocab_size < tokenizer.vocab_size:
        raise ModelError(
            f"model.vocab_size = {config.vocab_size:,} is less than the tokenizer's {tokenizer.vocab_size:,} tokens; "
            f"leave it out, and it follows the tokenizer"
        )
    special = tokenizer.special
    size = config.vocab_size or tokenizer.vocab_size
    filled = config.with_vocabulary(size, pad=special.pad, cls=special.cls, sep=special.sep)
    tree: dict[str, Any] = filled.model_dump() | {"pair_head": config.pair_head or has_pairs}
    try:
        return type(config).model_validate(tree)  # model_copy does not validate: not every family has a pair head
    except ValueError as error:
        raise SettingsError(f"model: {_first_message(error)}") from None


def _with_model(recipe: Recipe, model: ModelConfig) -> Recipe:
    try:
        return TypeAdapter(Recipe).validate_python(recipe.model_dump() | {"model": model.model_dump()})
    except ValueError as error:
        raise SettingsError(_first_message(error)) from None


def _first_message(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
    return str(error)
