"""Fine-tuning as a task of the engine, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maskling.data.labelled.batch import LabelledBatch
from maskling.data.labelled.examples import LabelledExamples
from maskling.errors import ModelError
from maskling.export.task_card import TaskFacts
from maskling.export.task_folder import export_task_model
from maskling.finetune.judging import judged
from maskling.finetune.kinds.kind import Encoded, Records
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.records_task import RecordsTask
from maskling.finetune.results import finish, write_model
from maskling.finetune.rows import Rows
from maskling.model.cost import flops_per_token
from maskling.model.device import Compute
from maskling.model.encoder import encoder_config
from maskling.model.tasks.folder import build_task_model, read_task_folder
from maskling.model.tasks.model import TaskModel
from maskling.objectives.loss import Term
from maskling.objectives.terms import Encode
from maskling.train.events import Event
from maskling.train.settings import MICRO_BATCH_TOKENS
from maskling.train.task import Best, LeftOut, Numbers
from maskling.train.work import Work, text_step
from maskling.train.world import World

if TYPE_CHECKING:
    from maskling.finetune.labelled import Labelled


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

    def working(self, world: World, left_out: LeftOut = ()) -> Callable[[int], Work]:
        """What makes the work of a step."""
        flops = flops_per_token(encoder_config(self._material.folder), self.row_tokens, 0.0)
        return partial(
            work_of, recipe=self.recipe, examples=self._examples, flops=flops, world=world, left_out=left_out
        )

    def terms(
        self, module: TaskModel, batch: LabelledBatch[Any], encode: Encode, device: torch.device
    ) -> dict[str, Term]:
        """The loss of the task."""
        rows = Rows.of(batch, device)
        hidden = encode(rows.input_ids, rows.position_ids, rows.token_type_ids, rows.visible)
        return {"loss": Term(self._kind.loss(module, hidden, rows), round(batch.targets.total))}

    def evaluate(self, module: TaskModel, compute: Compute, world: World) -> Numbers:
        """What the dev records come to."""
        return self.measured(module, compute, world, self._material.dev, self._dev)

    def measured(
        self, module: TaskModel, compute: Compute, world: World, records: Records, encoded: Encoded
    ) -> Numbers:
        """What some records come to; every rank judges a part of them."""
        kind, pad = self._kind, self._material.tokens.special.pad
        tokens = self.recipe.system.micro_batch_tokens or MICRO_BATCH_TOKENS
        logits = judged(kind, module, compute, world, encoded, pad, tokens)
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
            numbers = self.measured(model, compute, World(), test, self.encoded(test))
            write_model(run_dir, self.recipe, self._material, dev, numbers, partial(self._export, model))
            return numbers

        return finish(self.recipe, self.criterion, self._material, run_dir, best, tested)


def work_of(
    step: int,
    recipe: FinetuneRecipe,
    examples: LabelledExamples[Any],
    flops: float,
    world: World,
    left_out: LeftOut = (),
) -> Work:
    """The work of `step`: a function of the recipe, the step, and the records that the run has left out."""
    whole = examples.step(text_step(step, left_out), recipe.train.batch_size)
    batches = [batch for batch in whole.batches(recipe.rows_at_once, world.rank, world.size) if batch.rows]
    return Work(
        step=step,
        batches=batches,
        # A step of questions may have none whose answer is known: then its loss is zero, not zero by zero.
        counts={"loss": max(1, round(whole.num_targets))},
        num_tokens=whole.num_tokens,
        fill=whole.fill,
        flops_per_token=flops,
        numbers=whole.windows.record,
        sizes=[len(batch.first_positions) for batch in batches],
    )
