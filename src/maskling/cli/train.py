"""`maskling train`: pretrain a model, or resume a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_out_folder
from maskling.cli.options import SettingPairs, setting_layers, setting_lines
from maskling.console import Console
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.train.events import Metrics
    from maskling.train.recipe import Recipe

STOPPED = 130


def train(
    *,
    data: Annotated[Path | None, Parameter(help="folder that 'maskling prepare' wrote", metavar="FOLDER")] = None,
    out: Annotated[
        Path | None, Parameter(help="run folder; an unfinished run in it is resumed", metavar="FOLDER")
    ] = None,
    preset: Annotated[
        str | None, Parameter(help="named settings to start from; 'maskling presets' lists them", metavar="NAME")
    ] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)", metavar="FILE")] = None,
    init: Annotated[
        Path | None, Parameter(help="model to start from: its weights, architecture and tokenizer", metavar="FOLDER")
    ] = None,
    budget: Annotated[
        str | None, Parameter(help="time for the run, such as 4m or 2h, instead of steps", metavar="TIME")
    ] = None,
    epochs: Annotated[float | None, Parameter(help="passes over the text, instead of steps")] = None,
    steps: Annotated[int | None, Parameter(help="optimizer steps; default: those of the preset")] = None,
    batch_size: Annotated[int | None, Parameter(help="rows per step; default: that of the preset")] = None,
    lr: Annotated[float | None, Parameter(help="peak learning rate; default: that of the preset")] = None,
    seed: Annotated[int | None, Parameter(help="seed of weights, order, masks and dropout")] = None,
    force_new: Annotated[bool, Parameter(help="start anew; an existing run is renamed to RUN.1, not deleted")] = False,
    show: Annotated[
        bool, Parameter(help="print every setting, its origin, and a description of the run, without training")
    ] = False,
    log: Annotated[
        str | None, Parameter(help="tracker to log to: tensorboard, wandb, mlflow or trackio", metavar="NAME")
    ] = None,
    json: Annotated[bool, Parameter(help="print one line of JSON per event on stdout")] = False,
    settings: SettingPairs = (),
) -> int:
    """Pretrain a model on a prepared folder.

    Ctrl-C stops with a checkpoint; the same command resumes from it and ends with the same weights.

    Any setting is also an option, such as --train.steps 10000 or --masking.rate 0.2; --show lists them all, and
    'maskling config' writes them into a file for --config.

    Example: maskling train --preset small --data data/ --out runs/mine --budget 30m
    """
    from maskling.train.recipe import read_recipe

    console = Console(as_json=json)
    named = {
        "preset": preset,
        "init": init,
        "seed": seed,
        "data__path": data,
        "train__budget": budget,
        "train__epochs": epochs,
        "train__steps": steps,
        "train__batch_size": batch_size,
        "optimizer__lr": lr,
        "train__log": log,
    }
    resolved = read_recipe(setting_layers(config, settings, **{name: _word(value) for name, value in named.items()}))
    if show:
        for line in setting_lines(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        if resolved.origins["data.path"] != "default" and Path(resolved.settings.data.path).exists():
            _describe_run(resolved.settings, console)
        return 0
    for what, missing in (("--data FOLDER", resolved.origins["data.path"] == "default"), ("--out FOLDER", out is None)):
        if missing:
            raise SettingsError(f"training needs {what}; for example: maskling train --data data/ --out runs/mine")
    assert out is not None
    check_run_folder(out)
    if resolved.settings.init is not None and not (out / "config.toml").exists():
        from maskling.model.locate import find_model

        find_model(resolved.settings.init)

    from maskling.cli.run_report import RunReport, stop_requested
    from maskling.train.pretrain import pretrain

    report = RunReport(console, resolved.settings.train.log_every, format_held_out)
    with stop_requested(report.announce_stop) as stop:
        for event in pretrain(resolved.settings, out, stop=stop, force_new=force_new):
            report.show(event)
    return STOPPED if report.stopped else 0


def _describe_run(recipe: Recipe, console: Console) -> None:
    """Print a description of the run."""
    from maskling.cli.run_report import as_json, started_lines
    from maskling.train.pretrain import describe_run

    plan = describe_run(recipe)
    budget = recipe.train.budget
    for line in started_lines(plan)[: -1 if budget else None]:
        console.note(line)
    if budget:
        console.note(f"run       as many steps as fit into {budget}")
    console.data(as_json(plan))


def format_held_out(measured: Metrics) -> str:
    """Return held-out metrics, with the loss of guessing by token frequency."""
    shares = {name: 100 * (measured[name] or 0) for name in ("top1", "top5", "pair_accuracy")}
    pair = "" if measured["pair_accuracy"] is None else f"  pairs {shares['pair_accuracy']:.1f}%"
    loss = "none" if measured["mlm_loss"] is None else f"{measured['mlm_loss']:.3f}"
    return (
        f"loss {loss}   unigram {measured['unigram_entropy']:.2f}"
        f"   top-1 {shares['top1']:.1f}%  top-5 {shares['top5']:.1f}%{pair}"
    )


def check_run_folder(out: Path) -> None:
    """Raise SettingsError if `out` cannot be written or holds anything but a run."""
    from maskling.train.settings import check_run_folder as check_contents

    check_out_folder(out)
    check_contents(out)


def _word(value: object) -> str | None:
    return None if value is None else str(value)
