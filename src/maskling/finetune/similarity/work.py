"""What a step of training vectors is made of."""

from __future__ import annotations

from dataclasses import dataclass

from maskling.data.labelled.batch import LabelledBatch
from maskling.data.labelled.examples import LabelledExamples
from maskling.data.labelled.sides import Matches, SideTargets, step_matches
from maskling.finetune.recipe import FinetuneRecipe
from maskling.train.task import LeftOut
from maskling.train.work import Work, text_step
from maskling.train.world import World


@dataclass(frozen=True)
class Compared:
    """All sequences of a step, which are compared with each other.

    parts: those of this rank, in the micro-batches that are encoded one after the other; place: of its first one among
    all; sequences: how many there are over all ranks. matches: who belongs to whom, among all.
    """

    parts: list[LabelledBatch[SideTargets]]
    place: int
    sequences: int
    matches: Matches


def work_of(
    step: int,
    recipe: FinetuneRecipe,
    examples: LabelledExamples[SideTargets],
    flops: float,
    world: World,
    left_out: LeftOut = (),
) -> Work:
    """The work of `step`, for the engine a single micro-batch: a loss over all texts of a step cannot be cut up."""
    whole = examples.step(text_step(step, left_out), recipe.train.batch_size)
    rows = recipe.rows_at_once
    compared = Compared(
        parts=[batch for batch in whole.batches(rows, world.rank, world.size) if batch.rows],
        place=whole.place(rows, world.rank, world.size),
        sequences=len(whole.windows),
        matches=step_matches(whole),
    )
    return Work(
        step=step,
        batches=[compared],
        counts={"loss": 1},
        num_tokens=whole.num_tokens,
        fill=whole.fill,
        flops_per_token=flops,
        numbers=whole.windows.record,
        sizes=[len(whole.windows)],
    )
