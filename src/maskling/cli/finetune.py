"""`maskling finetune`: train a pretrained encoder on labelled records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.adapters import adapters_on
from maskling.cli.inputs import BaseModelFolder
from maskling.cli.options import SettingPairs, setting_layers, setting_lines
from maskling.cli.train import STOPPED, check_run_folder
from maskling.console import Console
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.train.events import Metrics


def finetune(
    model: Annotated[
        Path | None, Parameter(help="model to fine-tune: a run of 'maskling train', an export, a Hugging Face folder")
    ] = None,
    /,
    *,
    task: Annotated[
        str | None,
        Parameter(help="classify, pair, regress, tag, answer or similarity; default: classify", metavar="KIND"),
    ] = None,
    train: Annotated[
        Path | None, Parameter(help="training records; for similarity: pairs, or any text", metavar="FILE")
    ] = None,
    dev: Annotated[
        Path | None,
        Parameter(help="records that select the best weights; default: a held-out part of --train", metavar="FILE"),
    ] = None,
    test: Annotated[Path | None, Parameter(help="records to evaluate once, at the end", metavar="FILE")] = None,
    out: Annotated[Path | None, Parameter(help="run folder; an unfinished run there resumes", metavar="FOLDER")] = None,
    epochs: Annotated[float | None, Parameter(help="passes over the training records; default: 3")] = None,
    steps: Annotated[int | None, Parameter(help="optimizer steps, instead of epochs")] = None,
    batch_size: Annotated[int | None, Parameter(help="records per step; default: 32")] = None,
    lr: Annotated[float | None, Parameter(help="peak learning rate; default: by the model's size")] = None,
    seed: Annotated[
        int | None, Parameter(help="seed of the head's initial weights, the order of records, and dropout")
    ] = None,
    from_scratch: Annotated[
        bool,
        Parameter(help="random weights in the model's shape, to measure what pretraining contributes", negative=()),
    ] = False,
    base: BaseModelFolder = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)", metavar="FILE")] = None,
    force_new: Annotated[bool, Parameter(help="start anew; an existing run is moved to RUN.1, not deleted")] = False,
    show: Annotated[bool, Parameter(help="print every setting and its origin, and stop")] = False,
    log: Annotated[
        str | None, Parameter(help="tracker to log to: tensorboard, wandb, mlflow or trackio", metavar="NAME")
    ] = None,
    json: Annotated[bool, Parameter(help="one line of JSON per event on stdout")] = False,
    settings: SettingPairs = (),
) -> int:
    """Fine-tune for classification, sentence pairs, regression, NER/POS, QA or embeddings.

    With --task similarity, train text vectors instead. Files are JSON Lines, CSV, TSV, CoNLL columns or SQuAD's JSON.
    The best weights by --dev are written to OUT/model, for 'maskling predict' and transformers. Ctrl-C stops with a
    checkpoint, and the same command resumes from it.

    Any setting is also an option, as --train.batch-size 16 or --train.patience 3; --show lists them all.

    Example: maskling finetune runs/mine --task classify --train train.jsonl --dev dev.jsonl --out runs/classifier
    """
    from maskling.finetuning.recipe import read_finetune_recipe

    console = Console(as_json=json)
    named = {
        "task__kind": task,
        "encoder__path": model,
        "encoder__fresh": from_scratch or None,
        "data__train": train,
        "data__dev": dev,
        "data__test": test,
        "train__epochs": epochs,
        "train__steps": steps,
        "train__batch_size": batch_size,
        "optimizer__lr": lr,
        "train__log": log,
        "seed": seed,
    }
    values = {name: None if value is None else str(value) for name, value in named.items()}
    with adapters_on(base):
        resolved = read_finetune_recipe(setting_layers(config, settings, **values))
    recipe = resolved.settings
    if show:
        for line in setting_lines(resolved):
            console.result(line)
        console.data(recipe.model_dump(mode="json"))
        return 0
    for what, found in (("MODEL", recipe.encoder.path), ("--train FILE", recipe.data.train), ("--out FOLDER", out)):
        if not found:
            raise SettingsError(
                f"fine-tuning needs {what}; for example: maskling finetune runs/mine --task classify "
                f"--train train.jsonl --out runs/classifier"
            )
    assert out is not None
    check_run_folder(out)

    from maskling.cli.run_report import RunReport, stop_requested
    from maskling.finetuning.finetune import finetune as run

    report = RunReport(console, recipe.train.log_every, metrics_line)
    with adapters_on(base), stop_requested(report.announce_stop) as stop:
        for event in run(recipe, out, stop=stop, force_new=force_new):
            report.show(event)
    return STOPPED if report.stopped else 0


def metrics_line(measured: Metrics) -> str:
    """Return the metrics of an evaluation as a line, the criterion first."""
    return "   ".join(f"{name} {value:.4f}" for name, value in measured.items() if value is not None)
