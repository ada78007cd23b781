"""A whole fine-tuning run: `for event in finetune(recipe, run_dir)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from maskling.data.labelled.columns import Columns
from maskling.finetune.kinds.answer import Answer
from maskling.finetune.kinds.classify import Classify, Pair
from maskling.finetune.kinds.kind import Kind, Outputs
from maskling.finetune.kinds.regress import Regress
from maskling.finetune.kinds.tag import Tag
from maskling.finetune.recipe import FinetuneRecipe
from maskling.infer.forward import usual_batch_tokens
from maskling.infer.model import Model
from maskling.model.tasks.config import HeadConfig
from maskling.train.events import Event, FinalMetrics
from maskling.train.run import run_training
from maskling.train.task import TrainingData

# FOLDED DOCS
# [measuring] What a fine-tuned model comes to on labelled files that had no part in its training.


def finetune(
    recipe: FinetuneRecipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Fine-tune the model of `recipe.encoder.path` on records, or go on with the run in `run_dir`.

    As `pretrain` in everything: ranks of torchrun, stopping and going on to the same bits, what is raised. At the end
    it tells what was measured (`FinalMetrics`) of the best weights, which are in `run_dir/model`.
    """
    return run_training(recipe, run_dir, open_material, stop, force_new)


def open_material(recipe: FinetuneRecipe, checks: bool) -> TrainingData[FinetuneRecipe]:  # noqa: ARG001
    """What a run is made of. Reading checks every record, whatever is asked for.

    Raises SettingsError, ModelError or DataError.
    """
    return recipe.task.open(recipe)


def evaluate_labelled(model: Model, path: str, columns: Columns) -> tuple[FinalMetrics, list[str]]:
    """The numbers that `finetune` reports of the records of a file, and what there was to warn of.

    Raises DataError for a file that cannot be read or has no labels to compare with, ModelError for a model without a
    head for a task.
    """
    judge = model.need_task_scorer("evaluate")
    head = judge.head_config
    kind = kind_of(head)
    outputs = Outputs(head.kind, head.labels, head.answer_settings.pairs, unanswerable=head.answer_settings.allow_none)
    records, warnings = kind.read(path, columns)
    kind.check_judged(records, outputs)
    kind.check_shared(records, outputs, path)
    encoded = kind.encode(records, model.tokenizer, model.max_length, outputs, targets=False)
    logits = kind.logits(judge, encoded.windows, encoded.more, usual_batch_tokens(model.compute))
    if encoded.cut:
        warnings = [*warnings, f"{encoded.cut:,} of {len(records):,} records had a part that was cut"]
    return FinalMetrics(0, "test", path, len(records), kind.measure(records, encoded, logits, outputs)), warnings


def kind_of(head: HeadConfig) -> Kind:
    """The kind of task that a head is of, with the settings that it was judged by."""
    judging = head.answer_settings
    match head.kind:
        case "tag":
            return Tag()
        case "regress":
            return Regress()
        case "answer":
            return Answer(max_question=judging.max_question, max_answer=judging.max_answer)
        case "classify" if judging.pairs:
            return Pair(threshold=judging.threshold, positive=judging.positive)
        case _:
            return Classify(threshold=judging.threshold)
