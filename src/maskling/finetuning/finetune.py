"""Fine-tune a model, and evaluate a fine-tuned model on labelled files.

for event in finetune(recipe, run_dir): ...
"""

from __future__ import annotations

import os
import statistics
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from maskling.console import counted
from maskling.data.labelled.checks import unseen_labels
from maskling.data.labelled.columns import Columns
from maskling.errors import SettingsError
from maskling.files import atomic_write, write_json
from maskling.finetuning.kinds.answer import AnswerQuestions
from maskling.finetuning.kinds.classify import Classify, ClassifyPairs
from maskling.finetuning.kinds.kind import HeadTask
from maskling.finetuning.kinds.regress import Regress
from maskling.finetuning.kinds.similarity import Similarity
from maskling.finetuning.kinds.tag import Tag
from maskling.finetuning.recipe import FinetuneRecipe
from maskling.finetuning.similarity import SimilarityData
from maskling.finetuning.task import LabelledData
from maskling.infer.forward import default_batch_tokens
from maskling.infer.model import Model
from maskling.infer.task_logits import window_logits
from maskling.model.tasks.config import HeadConfig
from maskling.train.events import CrossValidated, Event, FinalMetrics, Finished, Metrics, Started, Warned
from maskling.train.run import run_training
from maskling.train.run_folder import set_aside
from maskling.train.task import TrainingData


def finetune(
    recipe: FinetuneRecipe, run_dir: Path, stop: Callable[[], bool] = lambda: False, force_new: bool = False
) -> Iterator[Event]:
    """Fine-tune the model of `recipe.encoder.path`, or resume the run in `run_dir`.

    Ranks, stopping, bit-identical resume and exceptions are as in `pretrain`. `FinalMetrics` of the best weights,
    which are in `run_dir/model`, come just before `Finished`. With `recipe.data.folds` there is one run per fold, in
    `run_dir/fold-1` and so on, and `CrossValidated` comes last.
    """
    run_dir = Path(run_dir)
    if recipe.data.folds is not None and recipe.data.fold is None:
        return _cross_validate(recipe, run_dir, stop, force_new)
    if not force_new and (run_dir / "fold-1" / "config.toml").is_file():
        raise SettingsError(f"{run_dir} holds a cross-validation; give another --out, or its data.folds to resume it")
    recipe = recipe if force_new else _with_hold_out(recipe, run_dir)
    return run_training(recipe, run_dir, open_training_data, stop, force_new)


def _cross_validate(
    recipe: FinetuneRecipe, run_dir: Path, stop: Callable[[], bool], force_new: bool
) -> Iterator[Event]:
    """Run the folds one after the other; those that are finished are kept. Writes `run_dir/results.json`."""
    folds = recipe.data.folds
    assert folds is not None
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("data.folds: torchrun trains one fold at a time; choose it with data.fold")
    if not force_new and (run_dir / "checkpoints").is_dir():
        raise SettingsError(f"{run_dir} holds a run without folds; give another --out, or --force-new")
    runs = [recipe.model_copy(update={"data": recipe.data.model_copy(update={"fold": n + 1})}) for n in range(folds)]
    if force_new:
        open_training_data(runs[0])  # a command that cannot train must not move a good run away
        if aside := set_aside(run_dir):
            yield Warned(f"the run that was in {run_dir} is now in {aside}")
    found: list[FinalMetrics] = []
    for number, one in enumerate(runs, 1):
        for event in run_training(one, run_dir / f"fold-{number}", open_training_data, stop):
            if number == 1 and isinstance(event, Started):
                with atomic_write(run_dir / "config.toml") as file:
                    file.write(recipe.to_toml().encode())
            if isinstance(event, FinalMetrics) and event.role == "test":
                found.append(event)
            yield event
            if isinstance(event, Finished) and event.stopped:
                return
    done = _over_folds(found, Path(recipe.data.train).name)
    tree = {"folds": folds, "records": done.records, "mean": done.mean, "deviation": done.deviation}
    write_json(run_dir / "results.json", {**tree, "by_fold": done.folds})
    yield done


def _over_folds(found: Sequence[FinalMetrics], source: str) -> CrossValidated:
    """Return the mean and the standard deviation of each metric; None if a fold does not have it."""
    mean: Metrics = {}
    deviation: Metrics = {}
    for name in found[0].measured:
        values = [one.measured.get(name) for one in found]
        known = [float(value) for value in values if value is not None]
        whole = len(known) == len(found)
        mean[name] = statistics.fmean(known) if whole else None
        deviation[name] = statistics.stdev(known) if whole else None
    folds = [dict(one.measured) for one in found]
    return CrossValidated(source, sum(one.records for one in found), folds, mean, deviation)


def _with_hold_out(recipe: FinetuneRecipe, run_dir: Path) -> FinetuneRecipe:
    """Return the recipe with the held-out records of the run in `run_dir`: versions without the setting drew singly."""
    try:
        saved = tomllib.loads((run_dir / "config.toml").read_text(encoding="utf-8"))
        begun = saved["data"].get("hold_out", "random")
    except (OSError, ValueError, LookupError, AttributeError):
        return recipe
    if begun != "random":
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"hold_out": "random"})})


def open_training_data(recipe: FinetuneRecipe, _checks: bool = True) -> TrainingData[FinetuneRecipe]:
    """Open the model folder and read all records, which checks every one of them.

    Raises SettingsError, ModelError, DataError or CorpusError.
    """
    match recipe.task:
        case Similarity() as task:
            return SimilarityData(recipe, task)
        case HeadTask() as task:
            return LabelledData(recipe, task)
    raise SettingsError(f"task.kind: '{recipe.task.kind}' cannot be trained")


def evaluate_labelled(model: Model, path: str, columns: Columns) -> tuple[FinalMetrics, list[str]]:
    """Return the metrics that `finetune` reports, measured on the records of a file, and warnings.

    Raises DataError for a file that cannot be read or has no labels to compare with, ModelError for a model without a
    task head.
    """
    scorer = model.need_task_scorer("evaluate")
    head = scorer.head_config
    task = task_of_head(head)
    file = task.read(path, columns)
    records, warnings = file.records, file.warnings
    task.check_evaluable(records, head, path)
    warnings = [*warnings, *unseen_labels(head.labels, task.label_names(records), path, "labels", "the model")]
    encoded = task.encode(records, model.tokenizer, model.max_length, head, targets=False)
    logits = window_logits(scorer, encoded.windows, encoded.detail, default_batch_tokens(model.compute))
    if encoded.cut:
        warnings = [*warnings, f"{encoded.cut:,} of {counted(len(records), 'record')} too long and cut"]
    measured, details = (read(records, encoded, logits, head) for read in (task.metrics, task.details))
    return FinalMetrics(0, "test", path, len(records), measured, details), warnings


def task_of_head(head: HeadConfig) -> HeadTask:
    """Return the task of a head, with the settings that its training evaluated it with."""
    settings = head.answer_settings
    match head.kind:
        case "tag":
            return Tag()
        case "regress":
            return Regress()
        case "answer":
            return AnswerQuestions(max_question=settings.max_question, max_answer=settings.max_answer)
        case "classify" if settings.pairs:
            return ClassifyPairs(threshold=settings.threshold, positive=settings.positive)
        case _:
            return Classify(threshold=settings.threshold)
