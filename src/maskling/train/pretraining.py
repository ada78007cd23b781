"""Pretraining as a task: masked tokens, and pairs where the recipe has them, judged by the loss on held-out text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path

import torch

from maskling.data.batch import Batch
from maskling.data.examples import Examples
from maskling.errors import DataError
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM
from maskling.objectives.loss import Term
from maskling.objectives.measure import measure
from maskling.objectives.tensors import TensorBatch
from maskling.objectives.terms import Encode, terms
from maskling.train.beginning import completed, empty_module, first_module, weights_fingerprint
from maskling.train.model_folder import write_model
from maskling.train.prepared import Prepared
from maskling.train.pretrain_work import work_of
from maskling.train.recipe import Recipe
from maskling.train.task import Baseline, Best, Criterion, LeftOut, Material, Numbers, Supply, Task
from maskling.train.work import Work
from maskling.train.world import World


class Text(Material[Recipe]):
    """A prepared folder, as the material of a pretraining run."""

    settings = Recipe

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        self.data, self.tokenizer = prepared.shards.manifest.fingerprint, prepared.tokenizer.fingerprint
        self.place = str(prepared.shards.folder)

    @classmethod
    def open(cls, recipe: Recipe, checks: bool) -> Text:
        """Open the folder of `recipe`; `checks` compares every byte with its checksum, if the recipe asks for that.

        Raises DataError, or TokenizerError if another tokenizer lies beside the shards.
        """
        return cls(Prepared.open(Path(recipe.data.path), verify=recipe.data.verify and checks))

    def completed(self, recipe: Recipe, written: Recipe | None) -> Recipe:
        """The recipe with a model that fits the tokenizer."""
        return completed(recipe, self._prepared.tokenizer, written)

    def origin(self, recipe: Recipe, known: str | None) -> str | None:
        """The checksum of the weights in `recipe.init`."""
        return weights_fingerprint(recipe.init, known)

    def task(self, recipe: Recipe, world: World) -> Pretraining:
        """The task of a completed recipe."""
        return Pretraining(recipe, self._prepared, world)


class Pretraining(Task[Recipe, MaskedLM]):
    """Masked-token prediction, and pairs."""

    criterion = Criterion("mlm_loss", words="loss")

    def __init__(self, recipe: Recipe, prepared: Prepared, world: World) -> None:
        self.recipe, self.row_tokens = recipe, recipe.data.seq_length
        self._prepared, self._world = prepared, world
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
            return self._prepared.validation(self.recipe)[self._world.rank :: self._world.size], []
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

    def working(self, world: World, left_out: LeftOut = ()) -> Callable[[int], Work]:
        """What makes the work of a step."""
        return partial(work_of, recipe=self.recipe, examples=self._examples, world=world, left_out=left_out)

    def terms(self, module: MaskedLM, batch: Batch, encode: Encode, device: torch.device) -> dict[str, Term]:
        """'mlm', and 'pair' where the batch has pairs."""
        return terms(module, TensorBatch.of(batch, device), encode)

    def evaluate(self, module: MaskedLM, compute: Compute, world: World) -> Numbers:
        """Loss and accuracies at fixed masks, beside the loss of knowing only how often tokens occur."""
        measured = measure(module, self._validation[0], compute, world.sum)
        entropy = self._prepared.unigram_entropy
        return {**asdict(measured), "perplexity": measured.perplexity, "unigram_entropy": entropy}

    def write(self, run_dir: Path, module: MaskedLM, best: Best | None) -> Path:
        """Write `run_dir/model`."""
        return write_model(run_dir, module, self._prepared, self.recipe, best)
