"""Fine-tuning as a task of the engine, whatever its kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from maskling.data.labelled.batches import LabelledBatch, LabelledExamples
from maskling.data.labelled.encode_texts import Targets, Windows
from maskling.errors import ModelError
from maskling.export.cards import TaskFacts
from maskling.export.folder import export_task_model
from maskling.files import checksum, fingerprint
from maskling.finetune.device_batch import Rows
from maskling.finetune.kinds.kind import Encoded, Kind, Logits, Records
from maskling.finetune.material import RecordsMaterial, completed
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.results import finish, write_model
from maskling.infer.task_logits import TorchTaskScorer
from maskling.model.config import flops_per_token
from maskling.model.device import Compute
from maskling.model.folder import encoder_config
from maskling.model.tasks.folder import build_task_model, read_task_folder
from maskling.model.tasks.model import TaskModel
from maskling.objectives.losses import Encode, Term
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.distributed import Ranks
from maskling.train.events import Event
from maskling.train.settings import MICRO_BATCH_TOKENS
from maskling.train.task import Best, Numbers, SkippedRanges, StepBatches, Supply, Task, data_step

# FOLDED DOCS
# [records_task] What every task of the engine shares that learns from records, with a head or without.
# [judging] What a model says of many records, the work shared among ranks.
# [labelled] What fine-tuning is made of: a model folder, and files of labelled records.


M = TypeVar("M", bound=Any)

# Windows of a record that a person should hear of: of 512 tokens, a book.
_MANY_WINDOWS = 200


class Sequences(Protocol):
    """Records as sequences. targets: what is to be learnt of each; cut: how many records lost text."""

    @property
    def windows(self) -> Windows: ...
    @property
    def targets(self) -> Targets: ...
    @property
    def cut(self) -> int: ...


class Source(Protocol):
    """Where the records are from. warnings: what is odd about them."""

    train: Records
    tokens: Tokenizer
    warnings: list[str]


class RecordsTask(Task[FinetuneRecipe, M], ABC):
    """Records in random order, packed into rows of `recipe.data.max_length` tokens."""

    weights = {"loss": 1.0}  # noqa: RUF012  (never changed)
    evaluates = True

    def __init__(self, recipe: FinetuneRecipe, source: Source) -> None:
        assert recipe.data.max_length is not None
        self.recipe, self.row_tokens = recipe, recipe.data.max_length
        self._source = source

    @cached_property
    @abstractmethod
    def _train(self) -> Sequences:
        """What is learnt from."""

    @cached_property
    @abstractmethod
    def _dev(self) -> Sequences:
        """What chooses the best weights."""

    @property
    def warnings(self) -> list[str]:
        """What is odd about the records, and how many of them lose text."""
        cut = {"train": self._train.cut, "dev": self._dev.cut}
        lost = [
            f"{count:,} records of {name} are too long for {self.row_tokens} tokens and lose text; "
            f"--data.max-length raises it"
            for name, count in cut.items()
            if count
        ]
        return [*self._source.warnings, *lost, *self._longest()]

    def _longest(self) -> list[str]:
        """The record of the most windows, where they are so many that a step takes long for it."""
        counts = np.bincount(self._train.windows.record)
        number = int(counts.argmax())
        count = int(counts[number])
        if count <= _MANY_WINDOWS:
            return []
        return [
            f"{self.describe_example(number)} is read in {count:,} windows, all in one step; cut it if that takes too long"
        ]

    @cached_property
    def _examples(self) -> LabelledExamples[Any]:
        return LabelledExamples(
            self._train.windows,
            self._train.targets,
            seq_length=self.row_tokens,
            pad=self._source.tokens.special.pad,
            seed=self.recipe.seed,
            packing=self.recipe.packing,
        )

    def supply(self) -> Supply:
        """How much there is to learn from."""
        return Supply(len(self._train.windows.ids), self._examples.num_records, self.recipe.train.batch_size)

    def describe_example(self, number: int) -> str:
        """Where a record is from."""
        return str(self._source.train[number].id)


class Finetuning(RecordsTask[TaskModel]):
    """An encoder and a new head, learning labels."""

    def __init__(self, recipe: FinetuneRecipe, material: Labelled) -> None:
        super().__init__(recipe, material)
        self._material, self._kind = material, material.kind
        self.criterion = self._kind.criterion(material.outputs)
        self.baseline = self._kind.baseline(material.train, material.outputs)

    @cached_property
    def _train(self) -> Encoded:
        return self.encoded(self._material.train, targets=True)

    @cached_property
    def _dev(self) -> Encoded:
        return self.encoded(self._material.dev)

    def encoded(self, records: Records, targets: bool = False) -> Encoded:
        """Records as the model reads them."""
        material = self._material
        return self._kind.encode(records, material.tokens, self.row_tokens, material.outputs, targets)

    def first_module(self) -> TaskModel:
        """The encoder with its weights, or fresh ones, and a head drawn from the seed."""
        model = self._built(self.recipe.encoder.fresh)
        self._kind.start(model, self._material.train)
        return model

    def empty_module(self) -> TaskModel:
        """The same for a checkpoint to fill."""
        return self._built(fresh=True)

    def _built(self, fresh: bool) -> TaskModel:
        encoder, outputs = self.recipe.encoder, self._material.outputs
        return build_task_model(
            self._material.folder,
            outputs.kind,
            outputs.labels,
            self.recipe.seed,
            fresh=fresh,
            dropout=encoder.dropout,
            head_dropout=encoder.head_dropout,
            pooling=encoder.pooling,
            judging=self._kind.judging(outputs),
        ).model

    def encoder(self, module: TaskModel) -> torch.nn.Module:
        """What costs the most."""
        return module.encoder

    def batch_builder(self, ranks: Ranks, left_out: SkippedRanges = ()) -> Callable[[int], StepBatches]:
        """What makes the work of a step."""
        flops = flops_per_token(encoder_config(self._material.folder), self.row_tokens, 0.0)
        return partial(
            work_of, recipe=self.recipe, examples=self._examples, flops=flops, ranks=ranks, left_out=left_out
        )

    def terms(
        self, module: TaskModel, batch: LabelledBatch[Any], encode: Encode, device: torch.device
    ) -> dict[str, Term]:
        """The loss of the task."""
        rows = Rows.of(batch, device)
        hidden = encode(rows.input_ids, rows.position_ids, rows.token_type_ids, rows.visible)
        return {"loss": Term(self._kind.loss(module, hidden, rows), round(batch.targets.total))}

    def evaluate(self, module: TaskModel, compute: Compute, ranks: Ranks) -> Numbers:
        """What the dev records come to."""
        return self.measured(module, compute, ranks, self._material.dev, self._dev)

    def measured(
        self, module: TaskModel, compute: Compute, ranks: Ranks, records: Records, encoded: Encoded
    ) -> Numbers:
        """What some records come to; every rank judges a part of them."""
        kind, pad = self._kind, self._material.tokens.special.pad
        tokens = self.recipe.system.micro_batch_tokens or MICRO_BATCH_TOKENS
        logits = judged(kind, module, compute, ranks, encoded, pad, tokens)
        return kind.measure(records, encoded, logits, self._material.outputs)

    def write(self, run_dir: Path, module: TaskModel, best: Best | None) -> Path:
        """Write `run_dir/model`."""
        dev = {} if best is None else best.numbers
        return write_model(run_dir, self.recipe, self._material, dev, {}, partial(self._export, module))

    def _export(self, module: TaskModel, out: Path, facts: TaskFacts) -> None:
        export_task_model(module, self._material.tokens, out, facts)

    def finish(self, run_dir: Path, best: Best | None, compute: Compute) -> Iterator[Event]:
        """Measure the finished model on the test records, once, and write what came of everything."""
        test, dev = self._material.test, {} if best is None else best.numbers

        def tested() -> Numbers:
            model = read_task_folder(run_dir / "model")
            if model is None or test is None:
                raise ModelError(f"{run_dir / 'model'} is no longer a model for this task; delete it, and run again")
            model = model.to(compute.device)
            numbers = self.measured(model, compute, Ranks(), test, self.encoded(test))
            write_model(run_dir, self.recipe, self._material, dev, numbers, partial(self._export, model))
            return numbers

        return finish(self.recipe, self.criterion, self._material, run_dir, best, tested)


def work_of(
    step: int,
    recipe: FinetuneRecipe,
    examples: LabelledExamples[Any],
    flops: float,
    ranks: Ranks,
    left_out: SkippedRanges = (),
) -> StepBatches:
    """The work of `step`: a function of the recipe, the step, and the records that the run has left out."""
    whole = examples.step(data_step(step, left_out), recipe.train.batch_size)
    batches = [batch for batch in whole.batches(recipe.rows_at_once, ranks.rank, ranks.size) if batch.rows]
    return StepBatches(
        step=step,
        batches=batches,
        # A step of questions may have none whose answer is known: then its loss is zero, not zero by zero.
        counts={"loss": max(1, round(whole.num_targets))},
        num_tokens=whole.num_tokens,
        fill=whole.fill,
        flops_per_token=flops,
        example_ids=whole.windows.record,
        sizes=[len(batch.first_positions) for batch in batches],
    )


def judged(
    kind: Kind, module: TaskModel, compute: Compute, ranks: Ranks, encoded: Encoded, pad: int, batch_tokens: int
) -> Logits:
    """The logits of all windows on every rank, each of which ran a part of them. The module's mode is put back."""
    mine = np.arange(ranks.rank, len(encoded.windows), ranks.size)
    logits = torch.zeros(kind.size(encoded), len(module.head_config.labels))
    was_training = module.training
    module.eval()
    try:
        if len(mine):
            windows, more, places = kind.part(encoded, mine)
            found = kind.logits(TorchTaskScorer(module, compute, pad), windows, more, batch_tokens)
            logits[torch.from_numpy(places)] = torch.from_numpy(found)
    finally:
        module.train(was_training)
    everything: Logits = ranks.all_reduce(logits.to(ranks.device)).cpu().numpy()
    return everything


# They tell models a percent apart from each other; to judge by more only takes time.
_MOST_HELD_OUT = 10_000


class Labelled(RecordsMaterial):
    """A model folder and its tokenizer; the records to learn from, to choose by, and to be measured on."""

    def __init__(self, recipe: FinetuneRecipe) -> None:
        """Read everything. Raises SettingsError, ModelError or DataError."""
        super().__init__(recipe)
        kind, data = recipe.task, recipe.data
        assert isinstance(kind, Kind)
        self.kind = kind
        self.train: Records = self._read(recipe, data.train)
        self.dev: Records
        if data.dev is None:
            self.train, self.dev = self.hold_out(recipe, self.train, _MOST_HELD_OUT)
        else:
            self.dev, self.dev_name = self._read(recipe, data.dev), Path(data.dev).name
        self.test = self._read(recipe, data.test) if data.test is not None else None
        self.outputs = kind.outputs(self.train)
        for judged_by in (self.dev, self.test or ()):
            kind.check_judged(judged_by, self.outputs)
        for path, given in ((data.dev, self.dev), (data.test, self.test)):
            if path is not None and given is not None:
                kind.check_shared(given, self.outputs, path)
        self.warnings += kind.check(self.train, {"dev": self.dev} | ({"test": self.test} if self.test else {}))
        files = [data.train, data.dev] if data.dev is not None else [data.train]
        self.data = fingerprint([checksum(Path(file)) for file in files])

    def complete_recipe(self, recipe: FinetuneRecipe, written: FinetuneRecipe | None) -> FinetuneRecipe:  # noqa: ARG002
        """The recipe with its longest sequence, its steps, and an evaluation an epoch."""
        return completed(recipe, self.folder, len(self.train))

    def build_task(self, recipe: FinetuneRecipe, ranks: Ranks) -> Finetuning:  # noqa: ARG002  (records are dealt step by step)
        """The task of a completed recipe."""
        return Finetuning(recipe, self)

    def _read(self, recipe: FinetuneRecipe, path: str) -> Records:
        records, warnings = self.kind.read(path, recipe.columns)
        self.warnings += warnings
        return records
