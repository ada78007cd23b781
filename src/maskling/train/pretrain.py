"""A whole pretraining run: `for event in pretrain(recipe, run_dir)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import torch

from maskling.data.assemble import Batch
from maskling.data.examples import Examples
from maskling.errors import DataError
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.model.memory import PROCESS_BYTES, num_parameters
from maskling.objectives.losses import Encode, TensorBatch, Term, loss_terms
from maskling.objectives.measure import measure_masked_lm
from maskling.train.distributed import Ranks
from maskling.train.events import Event, Started
from maskling.train.export_run import write_model
from maskling.train.initial_weights import completed, empty_module, first_module, weights_fingerprint
from maskling.train.memory_fit import described, resident_bytes
from maskling.train.prepared_data import PreparedData, work_of
from maskling.train.recipe import Recipe
from maskling.train.run import fitted, machine, opened, run_training
from maskling.train.task import (
    Baseline,
    Best,
    Criterion,
    Numbers,
    SkippedRanges,
    StepBatches,
    Supply,
    Task,
    TrainingData,
)

# FOLDED DOCS
# [pretraining] Pretraining as a task: masked tokens, and pairs where the recipe has them, judged by the loss on held-out text.
# [planning] What a run will be, told without taking a step or building a model: `maskling train --show`.


def pretrain(
    recipe: Recipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Train a model, or go on with the run in `run_dir`, telling of each thing that happens.

    Started by torchrun, each process is one rank of the same run; all are told the same steps and evaluations, and
    rank 0 of what it writes.

    stop: asked after every step; when it says yes on any rank, a checkpoint is written and the run ends, to be gone on
    with by the same call. So does leaving the loop, which costs the steps since the last checkpoint. torch's global
    generator is reseeded at each step, and its number of threads set.

    force_new: begin anew even where there is a run; that is moved to RUN.1 (or the next free number), never deleted.

    Raises CheckpointError if `run_dir` holds another run, is in use, or cannot be written to; SettingsError, DataError,
    TokenizerError or ModelError if what it is to be made of does not fit together; NumericsError when numbers stop
    being numbers; RankError when another rank has failed.
    """
    return run_training(recipe, run_dir, Text.open, stop, force_new)


class Text(TrainingData[Recipe]):
    """A prepared folder, as the material of a pretraining run."""

    settings = Recipe

    def __init__(self, prepared: PreparedData) -> None:
        self._prepared = prepared
        self.data, self.tokenizer = prepared.shards.manifest.fingerprint, prepared.tokenizer.fingerprint
        self.place = str(prepared.shards.folder)

    @classmethod
    def open(cls, recipe: Recipe, checks: bool) -> Text:
        """Open the folder of `recipe`; `checks` compares every byte with its checksum, if the recipe asks for that.

        Raises DataError, or TokenizerError if another tokenizer lies beside the shards.
        """
        return cls(PreparedData.open(Path(recipe.data.path), verify=recipe.data.verify and checks))

    def complete_recipe(self, recipe: Recipe, written: Recipe | None) -> Recipe:
        """The recipe with a model that fits the tokenizer."""
        return completed(recipe, self._prepared.tokenizer, written)

    def initial_weights_id(self, recipe: Recipe, known: str | None) -> str | None:
        """The checksum of the weights in `recipe.init`."""
        return weights_fingerprint(recipe.init, known)

    def build_task(self, recipe: Recipe, ranks: Ranks) -> Pretraining:
        """The task of a completed recipe."""
        return Pretraining(recipe, self._prepared, ranks)


class Pretraining(Task[Recipe, MaskedLM]):
    """Masked-token prediction, and pairs."""

    criterion = Criterion("mlm_loss", words="loss")

    def __init__(self, recipe: Recipe, prepared: PreparedData, ranks: Ranks) -> None:
        self.recipe, self.row_tokens = recipe, recipe.data.seq_length
        self._prepared, self._ranks = prepared, ranks
        self.baseline = Baseline(
            name="unigram",
            loss=prepared.unigram_entropy,
            knows="how often each token occurs",
            else_causes="many repeated lines, or a vocabulary that does not fit the text",
        )

    @property
    def measures_first(self) -> bool:
        """Whether they are those of recipe.init."""
        return self.recipe.init is not None

    @property
    def mask_rate(self) -> float:
        """What is masked at the most."""
        return max(self.recipe.masking.rate, self.recipe.masking.final_rate or 0.0)

    @property
    def weights(self) -> dict[str, float]:
        """Of the masked-token loss and the pair loss."""
        return {"mlm": 1.0, "pair": self.recipe.train.pair_weight}

    @cached_property
    def _examples(self) -> Examples:
        return self._prepared.examples(self.recipe)

    @cached_property
    def _validation(self) -> tuple[Sequence[Batch], list[str]]:
        """This rank's share of the validation batches, or none and a warning where there is no text for them."""
        try:
            return self._prepared.validation(self.recipe)[self._ranks.rank :: self._ranks.size], []
        except DataError as error:
            return (), [f"there will be no evaluation, and the last weights count as the best: {error}"]

    @property
    def warnings(self) -> list[str]:
        """That there is no text held out, if so."""
        return self._validation[1]

    @property
    def evaluates(self) -> bool:
        """Whether there is text held out."""
        return not self._validation[1]

    def supply(self) -> Supply:
        """How much there is to learn from."""
        return Supply(
            tokens=self._prepared.shards.split("train").num_tokens,
            examples_per_epoch=self._examples.num_examples,
            examples_per_step=self._examples.examples_per_step(self.recipe.train.batch_size),
        )

    def first_module(self) -> MaskedLM:
        """The model, drawn from the seed or with the weights of recipe.init."""
        return first_module(self.recipe)

    def empty_module(self) -> MaskedLM:
        """The model, for a checkpoint to fill."""
        return empty_module(self.recipe)

    def batch_builder(self, ranks: Ranks, left_out: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """What makes the work of a step."""
        return partial(work_of, recipe=self.recipe, examples=self._examples, ranks=ranks, left_out=left_out)

    def terms(self, module: MaskedLM, batch: Batch, encode: Encode, device: torch.device) -> dict[str, Term]:
        """'mlm', and 'pair' where the batch has pairs."""
        return loss_terms(module, TensorBatch.of(batch, device), encode)

    def evaluate(self, module: MaskedLM, compute: Compute, ranks: Ranks) -> Numbers:
        """Loss and accuracies at fixed masks, beside the loss of knowing only how often tokens occur."""
        measured = measure_masked_lm(module, self._validation[0], compute, ranks.all_reduce)
        entropy = self._prepared.unigram_entropy
        return {**asdict(measured), "perplexity": measured.perplexity, "unigram_entropy": entropy}

    def write(self, run_dir: Path, module: MaskedLM, best: Best | None) -> Path:
        """Write `run_dir/model`."""
        return write_model(run_dir, module, self._prepared, self.recipe, best)


def describe_run(recipe: Recipe) -> Started:
    """What `pretrain` would tell before the first step of a new run of this recipe, in one process on this machine.

    Where train.budget is to set the steps they are those of the settings. On a GPU memory is what torch allocates.
    Sets torch's number of threads, as `pretrain` does, and raises what it raises for settings, text, tokenizer and
    model that do not fit together.
    """
    compute = machine(recipe.system)
    text = Text.open(recipe, checks=False)
    task = text.build_task(text.complete_recipe(recipe, None), Ranks())
    model = task.recipe.model
    before = resident_bytes() or 0
    task.supply()
    grown = max(0, (resident_bytes() or 0) - before)
    fit = fitted(task, model, compute, process_bytes=0 if compute.device.type == "cuda" else PROCESS_BYTES + grown)
    return opened(task, fit, described(compute, fit, 1), num_parameters(model))
