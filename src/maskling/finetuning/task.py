"""Fine-tuning with a head, as a task of the training loop: batches, loss, evaluation and export.

`RecordsTask` is the part shared with similarity training, which has no head.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from maskling.arrays import offsets_of
from maskling.console import agreeing
from maskling.data.labelled.batches import LabelledBatch, LabelledExamples
from maskling.data.labelled.encode_texts import EncodedRecords
from maskling.data.shards import ragged
from maskling.errors import ModelError
from maskling.exporting.cards import TaskFacts
from maskling.exporting.folder import export_task_model
from maskling.files import checksum, fingerprint
from maskling.finetuning.device_batch import DeviceBatch
from maskling.finetuning.kinds.kind import HeadTask, Logits, Records
from maskling.finetuning.layers import choose_trained, layer_scales
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.finetuning.records_data import RecordsData, complete_lengths
from maskling.finetuning.results import report_results, write_adapter, write_best_model
from maskling.infer.task_logits import TorchTaskScorer, logit_counts, window_logits
from maskling.model.config import flops_per_token
from maskling.model.device import Compute
from maskling.model.folder import encoder_config
from maskling.model.lora import merged_lora
from maskling.model.tasks.folder import build_task_model, read_task_folder
from maskling.model.tasks.model import TaskModel
from maskling.objectives.losses import Encode, Term
from maskling.train.distributed import Ranks
from maskling.train.events import Details, Event, Metrics
from maskling.train.settings import MICRO_BATCH_TOKENS
from maskling.train.task import Best, DataCounts, SkippedRanges, StepBatches, Task, data_step

_Module = TypeVar("_Module", bound=Any)

# Windows per record that are worth a warning: with 512 tokens each, a book.
_MANY_WINDOWS = 200
# Held-out records; they distinguish models a percent apart, and more only take time.
_MOST_HELD_OUT = 10_000


def evaluation_compute(compute: Compute) -> Compute:
    """Return the same device in fp32, in which every evaluation runs.

    `maskling evaluate` and `predict` use fp32 by default: so one model has one number, whatever the dtype of
    its training, and the weights selected as the best are the best as they are used.
    """
    return replace(compute, dtype=torch.float32)


class RecordsTask(Task[FinetuneRecipe, _Module], ABC):
    """Records in random order, packed into rows of `recipe.data.max_length` tokens."""

    weights = {"loss": 1.0}  # noqa: RUF012  (never changed)
    evaluates = True

    def __init__(self, recipe: FinetuneRecipe, data: RecordsData) -> None:
        assert recipe.data.max_length is not None
        self.recipe, self.row_tokens = recipe, recipe.data.max_length
        self._data = data

    @cached_property
    @abstractmethod
    def _train(self) -> EncodedRecords[Any]:
        """The encoded training records."""

    @cached_property
    @abstractmethod
    def _dev(self) -> EncodedRecords[Any]:
        """The encoded records that select the best weights."""

    @property
    def warnings(self) -> list[str]:
        """Problems of the records, and how many of them are truncated."""
        cut = {"train": self._train.cut, "dev": self._dev.cut}
        truncated = [
            f"{agreeing(count, f'records of {name} are longer than {self.row_tokens} tokens and are cut')}; "
            f"--data.max-length raises the limit"
            for name, count in cut.items()
            if count
        ]
        return [*self._data.warnings, *truncated, *self._warn_of_longest()]

    def _warn_of_longest(self) -> list[str]:
        """Return a warning if a record has so many windows that its step takes long."""
        counts = np.bincount(self._train.windows.record)
        index = int(counts.argmax())
        count = int(counts[index])
        if count <= _MANY_WINDOWS:
            return []
        return [
            f"{self.describe_example(index)} is read in {count:,} windows, all in one step; "
            f"shorten it if that takes too long"
        ]

    @cached_property
    def _examples(self) -> LabelledExamples[Any]:
        return LabelledExamples(
            self._train.windows,
            self._train.targets,
            seq_length=self.row_tokens,
            pad=self._data.tokens.special.pad,
            seed=self.recipe.seed,
            packing=self.recipe.packing,
        )

    def lr_scales(self, module: _Module) -> Mapping[str, float]:
        """Return the factors of the learning rate by parameter: lower layers may learn more slowly."""
        return layer_scales(module, self.recipe.encoder)

    def supply(self) -> DataCounts:
        """Return the amount of training data."""
        return DataCounts(len(self._train.windows.ids), self._examples.num_records, self.recipe.train.batch_size)

    def describe_example(self, number: int) -> str:
        """Return the file and line of a record."""
        return str(self._data.train[number].id)


class FinetuneTask(RecordsTask[TaskModel]):
    """An encoder with a head, trained on labelled records."""

    def __init__(self, recipe: FinetuneRecipe, data: LabelledData) -> None:
        super().__init__(recipe, data)
        self._data: LabelledData = data
        self._task = data.task
        self.criterion = self._task.criterion(data.head)
        self.baseline = self._task.baseline(data.train, data.head)
        if self.baseline is not None:
            majority = self._task.majority(data.dev, data.head)
            label = str(majority.pop("label", ""))
            self.baseline = replace(self.baseline, label=label, scores=majority)

    @cached_property
    def _train(self) -> EncodedRecords[Any]:
        return self.encoded(self._data.train, targets=True)

    @cached_property
    def _dev(self) -> EncodedRecords[Any]:
        return self.encoded(self._data.dev)

    def encoded(self, records: Records, targets: bool = False) -> EncodedRecords[Any]:
        """Encode records as windows of `row_tokens` tokens."""
        return self._task.encode(records, self._data.tokens, self.row_tokens, self._data.head, targets=targets)

    def first_module(self) -> TaskModel:
        """Build the encoder with its weights, or fresh ones, and a head drawn from the seed."""
        model = self._build(self.recipe.encoder.fresh)
        self._task.initialize_head(model, self._data.train)
        return model

    def empty_module(self) -> TaskModel:
        """Build the same model for a checkpoint to fill."""
        return self._build(fresh=True)

    def _build(self, fresh: bool) -> TaskModel:
        encoder, head = self.recipe.encoder, self._data.head
        model = build_task_model(
            self._data.folder,
            head.kind,
            head.labels,
            self.recipe.seed,
            fresh=fresh,
            dropout=encoder.dropout,
            head_dropout=encoder.head_dropout,
            pooling=encoder.pooling,
            answer_settings=head.answer_settings,
        ).model
        choose_trained(model, self.recipe)
        return model

    def encoder(self, module: TaskModel) -> torch.nn.Module:
        """Return the part of the model that costs the most."""
        return module.encoder

    def batch_builder(self, ranks: Ranks, skipped_ranges: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """Return the function that builds the batches of a step."""
        flops = flops_per_token(encoder_config(self._data.folder), self.row_tokens, 0.0)
        return partial(
            labelled_batches,
            recipe=self.recipe,
            examples=self._examples,
            flops=flops,
            ranks=ranks,
            skipped_ranges=skipped_ranges,
        )

    def terms(
        self, module: TaskModel, batch: LabelledBatch[Any], forward: Encode, device: torch.device
    ) -> dict[str, Term]:
        """Compute the loss of a micro-batch."""
        inputs = DeviceBatch.of(batch, device)
        hidden = forward(inputs.input_ids, inputs.position_ids, inputs.token_type_ids, inputs.attention_pattern)
        return {"loss": Term(self._task.loss(module, hidden, inputs), round(batch.targets.total))}

    def evaluate(self, module: TaskModel, compute: Compute, ranks: Ranks) -> Metrics:
        """Return the metrics of the dev records."""
        logits = self._logits(module, compute, ranks, self._dev)
        return self._task.metrics(self._data.dev, self._dev, logits, self._data.head)

    def _logits(self, module: TaskModel, compute: Compute, ranks: Ranks, encoded: EncodedRecords[Any]) -> Logits:
        """Return the logits of records, in fp32; the ranks share the work."""
        tokens = self.recipe.system.micro_batch_tokens or MICRO_BATCH_TOKENS
        compute = evaluation_compute(compute)
        return logits_over_ranks(module, compute, ranks, encoded, self._data.tokens.special.pad, tokens)

    def write(self, run_dir: Path, module: TaskModel, best: Best | None) -> Path:
        """Write `run_dir/model`, and with LoRA `run_dir/adapter`."""
        dev = {} if best is None else best.numbers
        write_adapter(run_dir, self.recipe, self._data, module)
        return write_best_model(run_dir, self.recipe, self._data, dev, {}, partial(self._export, module))

    def _export(self, module: TaskModel, out: Path, facts: TaskFacts) -> None:
        with merged_lora(module):
            export_task_model(module, self._data.tokens, out, facts)

    def finish(self, run_dir: Path, best: Best | None, compute: Compute) -> Iterator[Event]:
        """Measure the finished model on the test records, once, and write results.json."""
        test, dev, head = self._data.test, {} if best is None else best.numbers, self._data.head

        def model() -> TaskModel:
            found = read_task_folder(run_dir / "model")
            if found is None:
                raise ModelError(f"{run_dir / 'model'} is no longer a model for this task; delete it, and run again")
            return found.to(compute.device)

        def measure_dev() -> Details:
            logits = self._logits(model(), compute, Ranks(), self._dev)
            return self._task.details(self._data.dev, self._dev, logits, head)

        def measure_test() -> tuple[Metrics, Details]:
            assert test is not None
            module, encoded = model(), self.encoded(test)
            logits = self._logits(module, compute, Ranks(), encoded)
            metrics = self._task.metrics(test, encoded, logits, head)
            write_best_model(run_dir, self.recipe, self._data, dev, metrics, partial(self._export, module))
            return metrics, self._task.details(test, encoded, logits, head)

        has_details = head.kind in ("classify", "multi-label", "tag")
        return report_results(
            self.recipe, self.criterion, self._data, run_dir, best, measure_test, measure_dev if has_details else dict
        )


def labelled_batches(
    step: int,
    recipe: FinetuneRecipe,
    examples: LabelledExamples[Any],
    flops: float,
    ranks: Ranks,
    skipped_ranges: SkippedRanges = (),
) -> StepBatches:
    """Build the batches of `step`: a function of the recipe, the step, and the ranges that the run has skipped."""
    whole = examples.step(data_step(step, skipped_ranges), recipe.train.batch_size)
    batches = [batch for batch in whole.batches(recipe.micro_batch_rows, ranks.rank, ranks.size) if batch.rows]
    return StepBatches(
        step=step,
        batches=batches,
        # 0 if no answer of a step of questions has a known position, or no word of its sentences a tag.
        counts={"loss": round(whole.num_targets)},
        num_tokens=whole.num_tokens,
        fill=whole.fill,
        flops_per_token=flops,
        example_ids=whole.windows.record,
        sizes=[len(batch.first_positions) for batch in batches],
    )


def logits_over_ranks(
    module: TaskModel, compute: Compute, ranks: Ranks, encoded: EncodedRecords[Any], pad: int, batch_tokens: int
) -> Logits:
    """Return the logits of all windows, all-reduced: each rank computes a part. The module's mode is restored."""
    counts = logit_counts(module.head_config.kind, encoded.windows, encoded.detail)
    logits = torch.zeros(int(counts.sum()), len(module.head_config.labels))
    own = np.arange(ranks.rank, len(encoded.windows), ranks.size)
    was_training = module.training
    module.eval()
    try:
        if len(own):
            scorer = TorchTaskScorer(module, compute, pad)
            detail = encoded.detail.take(own) if module.head_config.kind == "tag" else None
            found = window_logits(scorer, encoded.windows.take(own), detail, batch_tokens)
            rows = ragged(offsets_of(counts)[own], counts[own])
            logits[torch.from_numpy(rows)] = torch.from_numpy(found)
    finally:
        module.train(was_training)
    reduced: Logits = ranks.all_reduce(logits.to(ranks.device)).cpu().numpy()
    return reduced


def _checksum(path: Path) -> str:
    """Return the checksum of a file, or of the files in a folder."""
    if not path.is_dir():
        return checksum(path)
    return fingerprint([checksum(file) for file in sorted(path.rglob("*")) if file.is_file()])


class LabelledData(RecordsData):
    """A model folder with its tokenizer, labelled records, and the head that the training records call for."""

    def __init__(self, recipe: FinetuneRecipe, task: HeadTask) -> None:
        """Read and check all records. Raises SettingsError, ModelError or DataError."""
        super().__init__(recipe)
        data = recipe.data
        self.task = task
        self.train = self._read(recipe, data.train)
        self.test = self._read(recipe, data.test) if data.test is not None else None
        if data.fold is not None:
            self.train, self.test = self.split_fold(recipe, self.train)
        if data.dev is None:
            self.train, self.dev = self.hold_out(recipe, self.train, _MOST_HELD_OUT)
        else:
            self.dev, self.dev_name = self._read(recipe, data.dev), Path(data.dev).name
        self.head = task.head(self.train)
        for path, records in ((data.dev, self.dev), (data.test or self.test_name, self.test)):
            if records is not None:
                task.check_evaluable(records, self.head, path)
        self.warnings += task.warnings(self.train, {"dev": self.dev} | ({"test": self.test} if self.test else {}))
        files = [data.train, data.dev] if data.dev is not None else [data.train]
        self.data = fingerprint([_checksum(Path(file)) for file in files])

    def complete_recipe(self, recipe: FinetuneRecipe, _saved: FinetuneRecipe | None) -> FinetuneRecipe:
        """Return the recipe with its maximum length, number of steps and evaluation interval."""
        return complete_lengths(recipe, self.folder, len(self.train))

    def build_task(self, recipe: FinetuneRecipe, _ranks: Ranks) -> FinetuneTask:
        """Return the task of a completed recipe."""
        return FinetuneTask(recipe, self)

    def _read(self, recipe: FinetuneRecipe, path: str) -> Records:
        file = self.task.read(path, recipe.columns)
        self.warnings += file.warnings
        return file.records
