"""Training of vectors as a task of the engine."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from maskling.data.labelled.records import TextRecord
from maskling.data.labelled.sides import Sides, encode_sides
from maskling.data.labelled.similar import Form
from maskling.export.sentence_encoder import export_sentence_encoder
from maskling.export.task_card import TaskFacts
from maskling.finetune.recipe import FinetuneRecipe
from maskling.finetune.records_task import RecordsTask
from maskling.finetune.results import finish, write_model
from maskling.finetune.similarity.judging import CRITERIA, measured
from maskling.finetune.similarity.vectors import step_vectors
from maskling.finetune.similarity.work import Compared, work_of
from maskling.model.cost import flops_per_token
from maskling.model.device import Compute
from maskling.model.encoder import build_encoder
from maskling.model.masked_lm import MaskedLM
from maskling.model.tasks.config import Pooling
from maskling.objectives.loss import Term
from maskling.objectives.similarity import contrastive, cosent
from maskling.objectives.terms import Encode
from maskling.train.events import Event
from maskling.train.task import Baseline, Best, LeftOut, Numbers
from maskling.train.work import Work
from maskling.train.world import World

if TYPE_CHECKING:
    from maskling.finetune.similarity.material import SimilarTexts


class Embedding(RecordsTask[MaskedLM]):
    """An encoder without heads, learning to lay alike texts side by side."""

    def __init__(self, recipe: FinetuneRecipe, material: SimilarTexts, world: World) -> None:
        assert recipe.encoder.pooling is not None
        super().__init__(recipe, material)
        self._pooling: Pooling = recipe.encoder.pooling
        self._material, self._world, self._kind = material, world, material.kind
        self.criterion = CRITERIA[material.dev_form]
        if material.form != "scored":
            guess = math.log(min(recipe.train.batch_size, len(material.train)))
            self.baseline = Baseline("guessing", guess, "how many texts a step has")

    @property
    def measures_first(self) -> bool:
        """Whether there are weights that were given."""
        return not self.recipe.encoder.fresh

    @cached_property
    def _train(self) -> Sides:
        return self._encoded(self._material.train)

    @cached_property
    def _dev(self) -> Sides:
        return self._encoded(self._material.dev)

    def _encoded(self, records: Sequence[TextRecord]) -> Sides:
        return encode_sides(records, self._material.tokens, self.row_tokens)

    def first_module(self) -> MaskedLM:
        """The encoder with its weights, or fresh ones."""
        return self._built(self.recipe.encoder.fresh)

    def empty_module(self) -> MaskedLM:
        """The same for a checkpoint to fill."""
        return self._built(fresh=True)

    def _built(self, fresh: bool) -> MaskedLM:
        return build_encoder(self._material.folder, self.recipe.seed, fresh=fresh, dropout=self.recipe.encoder.dropout)

    def working(self, world: World, left_out: LeftOut = ()) -> Callable[[int], Work]:
        """What makes the work of a step."""
        flops = flops_per_token(self._material.config, self.row_tokens, 0.0)
        return partial(
            work_of, recipe=self.recipe, examples=self._examples, flops=flops, world=world, left_out=left_out
        )

    def terms(self, module: MaskedLM, batch: Compared, encode: Encode, device: torch.device) -> dict[str, Term]:
        """The loss of the whole step, on every rank; only the first tells how much it is, so that it counts once."""
        vectors = step_vectors(module, batch, encode, device, self._pooling, self._world)
        matches, temperature = batch.matches, self._kind.temperature
        with torch.autocast(device.type, enabled=False):
            anchors = vectors[torch.from_numpy(matches.anchors).to(device)]
            if self._material.form == "scored":
                partners = vectors[torch.from_numpy(matches.partners).to(device)]
                # Their order is all that counts, and Apple's GPUs have no float64.
                order = torch.from_numpy(np.unique(matches.scores, return_inverse=True)[1])
                loss = cosent(anchors, partners, order.to(device), temperature)
            else:
                candidates = vectors[torch.from_numpy(matches.candidates).to(device)]
                excluded = torch.from_numpy(matches.excluded()).to(device)
                loss = contrastive(anchors, candidates, excluded, temperature)
        return {"loss": Term(loss if self._world.leads else loss - loss.detach(), 1)}

    def evaluate(self, module: MaskedLM, compute: Compute, world: World) -> Numbers:
        """What the dev texts come to."""
        return self._measured(module, compute, world, self._material.dev_form, self._dev)

    def _measured(self, module: MaskedLM, compute: Compute, world: World, form: Form, sides: Sides) -> Numbers:
        return measured(module, compute, world, form, sides, self._material.tokens.special.pad, self.recipe)

    def write(self, run_dir: Path, module: MaskedLM, best: Best | None) -> Path:
        """Write `run_dir/model`."""
        return self._write(run_dir, module, self._told(best), {})

    def finish(self, run_dir: Path, best: Best | None, compute: Compute) -> Iterator[Event]:
        """Measure the finished model on the test texts, once, and write what came of everything."""
        material = self._material

        def tested() -> Numbers:
            assert material.test is not None
            module = build_encoder(run_dir / "model", self.recipe.seed).to(compute.device)
            sides = self._encoded(material.test)
            numbers = self._measured(module, compute, World(), material.test_form, sides)
            self._write(run_dir, module, self._told(best), numbers)
            return numbers

        return finish(self.recipe, self.criterion, material, run_dir, best, tested)

    def _told(self, best: Best | None) -> Numbers:
        if best is None:
            return {}
        return {**best.numbers, f"{self.criterion.name} before training": best.before}

    def _write(self, run_dir: Path, module: MaskedLM, dev: Numbers, test: Numbers) -> Path:
        material = self._material

        def export(out: Path, facts: TaskFacts) -> None:
            export_sentence_encoder(module, material.config, material.tokens, out, facts, self._pooling, material.form)

        return write_model(run_dir, self.recipe, material, dev, test, export)
