"""Similarity training: an encoder that gives close vectors to texts of the same meaning, with in-batch negatives.

The loss compares all sequences of a step, so vectors are gathered from all ranks and micro-batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from maskling.data.labelled.batches import LabelledBatch, LabelledExamples
from maskling.data.labelled.checks import empty_texts, leaks
from maskling.data.labelled.encode_texts import EncodedRecords
from maskling.data.labelled.read_similar import SimilarityFile, SimilarityForm, read_similar
from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.triplets import PositivePairs, TripletTargets, encode_triplets, step_positive_pairs
from maskling.errors import DataError, SettingsError
from maskling.exporting.cards import TaskFacts
from maskling.exporting.folder import export_sentence_encoder
from maskling.files import fingerprint
from maskling.finetuning.device_batch import DeviceBatch
from maskling.finetuning.kinds.kind import Records
from maskling.finetuning.kinds.similarity import Similarity
from maskling.finetuning.layers import choose_trained
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.finetuning.records_data import RecordsData, complete_lengths
from maskling.finetuning.results import report_results, write_adapter, write_best_model
from maskling.finetuning.similarity_eval import CRITERIA, similarity_metrics
from maskling.finetuning.task import RecordsTask, evaluation_compute
from maskling.model.activation_checkpointing import checkpoint_activations
from maskling.model.config import flops_per_token
from maskling.model.device import Compute
from maskling.model.folder import build_encoder, encoder_config, pool_rows
from maskling.model.lora import merged_lora
from maskling.model.masked_lm import MaskedLM
from maskling.model.sentence_transformers import normalizes, read_pooling
from maskling.model.tasks.config import Pooling
from maskling.objectives.losses import Encode, Term
from maskling.objectives.similarity import contrastive, cosent
from maskling.train.distributed import Ranks
from maskling.train.events import Baseline, Details, Event, Metrics
from maskling.train.task import Best, SkippedRanges, StepBatches, data_step

# Default dropout for text alone, where it makes the two copies of a text differ: the best of Gao et al. 2021 (table 5).
_DROPOUT = 0.1
# Held-out records: evaluating on a text takes as long as training on it, and a pair is compared with all others.
_MOST_HELD_OUT: Final[dict[SimilarityForm, int]] = {"texts": 1000, "pairs": 5000, "scored": 10_000}


class SimilarityData(RecordsData):
    """A model folder with its tokenizer, and texts or pairs.

    form: of the training file, which decides the loss; dev_form, test_form: of the evaluation files, may differ.
    """

    def __init__(self, recipe: FinetuneRecipe, task: Similarity) -> None:
        """Read and check all texts. Raises SettingsError, ModelError, DataError or CorpusError."""
        super().__init__(recipe)
        self.task, data = task, recipe.data
        self.config = encoder_config(self.folder)
        train = self._read(recipe, data.train)
        self.form: SimilarityForm = train.form
        self.train = train.records
        if data.fold is not None:
            self.train, self.test = self.split_fold(recipe, self.train)
        self.dev_form: SimilarityForm = train.form
        self.test_form: SimilarityForm = train.form
        if data.dev is None:
            self.train, self.dev = self.hold_out(recipe, self.train, _MOST_HELD_OUT[train.form])
        else:
            dev = self._read(recipe, data.dev)
            self.dev, self.dev_form, self.dev_name = dev.records, dev.form, Path(data.dev).name
        if data.test is not None:
            test = self._read(recipe, data.test)
            self.test, self.test_form = test.records, test.form
        self._check(recipe)
        self.data = fingerprint([[_texts(record) for record in some] for some in (self.train, self.dev)])

    def complete_recipe(self, recipe: FinetuneRecipe, _saved: FinetuneRecipe | None) -> FinetuneRecipe:
        """Return the recipe with its maximum length, steps, evaluations, pooling, and the dropout that SimCSE needs."""
        recipe = complete_lengths(recipe, self.folder, len(self.train))
        encoder = recipe.encoder
        if encoder.pooling is None:
            encoder = encoder.model_copy(update={"pooling": read_pooling(self.folder)})
        if self.form == "texts" and encoder.dropout is None:
            encoder = encoder.model_copy(update={"dropout": _DROPOUT})
        return recipe.model_copy(update={"encoder": encoder})

    def build_task(self, recipe: FinetuneRecipe, ranks: Ranks) -> SimilarityTask:
        """Return the task of a completed recipe."""
        return SimilarityTask(recipe, self, ranks)

    def _read(self, recipe: FinetuneRecipe, path: str) -> SimilarityFile:
        found = read_similar(path, recipe.columns, self.task.unit, self.task.min_characters)
        self.warnings += found.warnings
        if found.form == "scored":
            scores = [record.label for record in found.records if isinstance(record.label, float)]
            if len(set(scores)) < 2:
                raise DataError(f"{path}: all scores are {scores[0]:g}, so they have no order to learn or evaluate")
        return found

    def _check(self, recipe: FinetuneRecipe) -> None:
        if recipe.train.batch_size < 2:
            raise SettingsError("train.batch_size is 1, so a text has no in-batch negatives; set it to 16 or more")
        if self.form == "texts" and recipe.encoder.dropout == 0:
            raise SettingsError(
                "encoder.dropout is 0, but without pairs only dropout makes the two copies of a text differ; "
                "remove the setting for 0.1"
            )
        if len({record.text for record in self.train}) < 2:
            raise DataError(f"{recipe.data.train} has a single text, so it has no negatives; give more")
        self.warnings += empty_texts(self.train)
        known = {(record.text, record.text_pair) for record in self.train}
        for name, records in (("dev", self.dev), ("test", self.test or ())):
            self.warnings += leaks([(record.text, record.text_pair) in known for record in records], name, "texts")


def _texts(record: TextRecord) -> list[Any]:
    negatives = record.negatives if len(record.negatives) > 1 else next(iter(record.negatives), None)
    score = np.format_float_positional(record.label) if isinstance(record.label, float) else None
    return [record.text, record.text_pair, negatives, score]


class SimilarityTask(RecordsTask[MaskedLM]):
    """An encoder without a head, trained to give close vectors to similar texts."""

    def __init__(self, recipe: FinetuneRecipe, data: SimilarityData, ranks: Ranks) -> None:
        assert recipe.encoder.pooling is not None
        super().__init__(recipe, data)
        self._data: SimilarityData = data
        self._pooling: Pooling = recipe.encoder.pooling
        self._ranks, self._task = ranks, data.task
        self.criterion = CRITERIA[data.dev_form]
        if data.form != "scored":
            anchors = min(recipe.train.batch_size, len(data.train))
            # The hard negatives of all anchors are candidates for each.
            negatives = sum(len(record.negatives) for record in data.train) / len(data.train)
            guess = math.log(anchors * (1 + negatives))
            self.baseline = Baseline("guessing", guess, "the number of texts per step")

    @property
    def evaluates_initial(self) -> bool:
        """Whether training begins with pretrained weights."""
        return not self.recipe.encoder.fresh

    @cached_property
    def _train(self) -> EncodedRecords[TripletTargets]:
        return self._encoded(self._data.train)

    @cached_property
    def _dev(self) -> EncodedRecords[TripletTargets]:
        return self._encoded(self._data.dev)

    def _encoded(self, records: Records) -> EncodedRecords[TripletTargets]:
        return encode_triplets(records, self._data.tokens, self.row_tokens)

    def first_module(self) -> MaskedLM:
        """Build the encoder with its weights, or fresh ones."""
        return self._build(self.recipe.encoder.fresh)

    def empty_module(self) -> MaskedLM:
        """Build the same encoder for a checkpoint to fill."""
        return self._build(fresh=True)

    def _build(self, fresh: bool) -> MaskedLM:
        encoder = self.recipe.encoder
        model = build_encoder(self._data.folder, self.recipe.seed, fresh=fresh, dropout=encoder.dropout)
        choose_trained(model, self.recipe)
        return model

    def batch_builder(self, ranks: Ranks, skipped_ranges: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """Return the function that builds the batches of a step."""
        flops = flops_per_token(self._data.config, self.row_tokens, 0.0)
        return partial(
            similarity_batches,
            recipe=self.recipe,
            examples=self._examples,
            flops=flops,
            ranks=ranks,
            skipped_ranges=skipped_ranges,
        )

    def terms(self, module: MaskedLM, batch: StepSequences, forward: Encode, device: torch.device) -> dict[str, Term]:
        """Compute the loss of the whole step on every rank; only rank 0 returns its value, so that it counts once."""
        vectors = step_vectors(module, batch, forward, device, self._pooling, self._ranks)
        pairs, temperature = batch.pairs, self._task.temperature
        with torch.autocast(device.type, enabled=False):
            anchors = vectors[torch.from_numpy(pairs.anchors).to(device)]
            if self._data.form == "scored":
                positives = vectors[torch.from_numpy(pairs.positives).to(device)]
                # Their order is all that counts, and Apple's GPUs have no float64.
                order = torch.from_numpy(np.unique(pairs.scores, return_inverse=True)[1])
                loss = cosent(anchors, positives, order.to(device), temperature)
            else:
                candidates = vectors[torch.from_numpy(pairs.candidates).to(device)]
                excluded = torch.from_numpy(pairs.excluded()).to(device)
                loss = contrastive(anchors, candidates, excluded, temperature)
        return {"loss": Term(loss if self._ranks.is_main else loss - loss.detach(), 1)}

    def evaluate(self, module: MaskedLM, compute: Compute, ranks: Ranks) -> Metrics:
        """Return the metrics of the dev texts."""
        return self._measure(module, compute, ranks, self._data.dev_form, self._dev)

    def _measure(
        self,
        module: MaskedLM,
        compute: Compute,
        ranks: Ranks,
        form: SimilarityForm,
        encoded: EncodedRecords[TripletTargets],
    ) -> Metrics:
        """Return the metrics of texts, in fp32; the ranks share the work."""
        compute, pad = evaluation_compute(compute), self._data.tokens.special.pad
        return similarity_metrics(module, compute, ranks, form, encoded, pad, self.recipe)

    def write(self, run_dir: Path, module: MaskedLM, best: Best | None) -> Path:
        """Write `run_dir/model`, and with LoRA `run_dir/adapter`."""
        write_adapter(run_dir, self.recipe, self._data, module, self._pooling)
        return self._write(run_dir, module, self._card_metrics(best), {})

    def finish(self, run_dir: Path, best: Best | None, compute: Compute) -> Iterator[Event]:
        """Measure the finished model on the test texts, once, and write results.json."""
        data = self._data

        def measure_test() -> tuple[Metrics, Details]:
            assert data.test is not None
            module = build_encoder(run_dir / "model", self.recipe.seed).to(compute.device)
            metrics = self._measure(module, compute, Ranks(), data.test_form, self._encoded(data.test))
            self._write(run_dir, module, self._card_metrics(best), metrics)
            return metrics, {}

        return report_results(self.recipe, self.criterion, data, run_dir, best, measure_test)

    def _card_metrics(self, best: Best | None) -> Metrics:
        if best is None:
            return {}
        return {**best.numbers, f"{self.criterion.name} before training": best.before}

    def _write(self, run_dir: Path, module: MaskedLM, dev: Metrics, test: Metrics) -> Path:
        data = self._data

        def export(out: Path, facts: TaskFacts) -> None:
            with merged_lora(module):
                export_sentence_encoder(
                    module, data.config, data.tokens, out, facts, self._pooling, data.form, normalizes(data.folder)
                )

        return write_best_model(run_dir, self.recipe, data, dev, test, export)


def step_vectors(
    module: MaskedLM, step: StepSequences, encode: Encode, device: torch.device, pooling: Pooling, ranks: Ranks
) -> Tensor:
    """Return the vectors of all sequences of a step: (sequences, hidden) fp32.

    With more than one micro-batch only the vectors are kept, and each micro-batch is encoded again, with the same
    dropout, in the backward pass: activation checkpointing around each is what Gao et al. 2021 (Scaling deep
    contrastive learning batch size under memory limited setup, section 3.2) call gradient caching. So loss and gradient
    are those of the whole step, for a third more time.
    """
    vectors = []
    for part in step.micro_batches:
        batch = DeviceBatch.of(part, device)
        if len(step.micro_batches) == 1:
            vectors.append(_encode(batch.input_ids, batch, encode, pooling))
        else:
            vectors.append(checkpoint_activations(_encode, batch.input_ids, batch, encode, pooling))
    if not vectors:
        # A rank without rows has no vectors, but the training loop needs something to differentiate.
        trained = next(parameter for parameter in module.parameters() if parameter.requires_grad)
        vectors = [trained.flatten()[:0].view(0, module.config.hidden_size).float()]
    return _gather(torch.cat(vectors), step, ranks)


def _encode(input_ids: Tensor, batch: DeviceBatch, encode: Encode, pooling: Pooling) -> Tensor:
    # With the cached masks of the first forward pass, the second would be a different graph to a compiler.
    attention_pattern = batch.attention_pattern.without_masks()
    hidden = encode(input_ids, batch.position_ids, batch.token_type_ids, attention_pattern)
    with torch.autocast(hidden.device.type, enabled=False):
        return pool_rows(hidden.float(), batch.first_positions, attention_pattern, pooling)


def _gather(own: Tensor, step: StepSequences, ranks: Ranks) -> Tensor:
    """Return the vectors of all ranks. Only a rank's own have a gradient here; the other ranks have those of theirs."""
    if ranks.size == 1:
        return own
    first, end = step.first, step.first + len(own)
    gathered = torch.zeros(step.num_sequences, own.shape[1], device=ranks.device)
    gathered[first:end] = own.detach().to(ranks.device)
    gathered = ranks.all_reduce(gathered).to(own.device)
    return torch.cat([gathered[:first], own, gathered[end:]])


@dataclass(frozen=True)
class StepSequences:
    """All sequences of a step, which are compared with each other.

    micro_batches: of this rank, encoded one after the other. first: index of its first sequence among all.
    num_sequences: over all ranks. pairs: the positive pairs among all.
    """

    micro_batches: list[LabelledBatch[TripletTargets]]
    first: int
    num_sequences: int
    pairs: PositivePairs


def similarity_batches(
    step: int,
    recipe: FinetuneRecipe,
    examples: LabelledExamples[TripletTargets],
    flops: float,
    ranks: Ranks,
    skipped_ranges: SkippedRanges = (),
) -> StepBatches:
    """Build the batches of `step`: a single micro-batch to the training loop, as the loss compares all its texts."""
    whole = examples.step(data_step(step, skipped_ranges), recipe.train.batch_size)
    rows, pairs = recipe.micro_batch_rows, step_positive_pairs(whole)
    sequences = StepSequences(
        micro_batches=[batch for batch in whole.batches(rows, ranks.rank, ranks.size) if batch.rows],
        first=whole.first_sequence(rows, ranks.rank, ranks.size),
        num_sequences=len(whole.windows),
        pairs=pairs,
    )
    return StepBatches(
        step=step,
        batches=[sequences],
        counts={"loss": int(pairs.has_predictions)},
        num_tokens=whole.num_tokens,
        fill=whole.fill,
        flops_per_token=flops,
        example_ids=whole.windows.record,
        sizes=[len(whole.windows)],
    )
