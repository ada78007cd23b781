"""`maskling train`: make a model, or go on making it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.settings import SettingPairs, layers, shown
from maskling.console import Console

STOPPED = 130


def train(
    *,
    data: Annotated[Path | None, Parameter(help="folder that 'maskling prepare' wrote")] = None,
    out: Annotated[Path | None, Parameter(help="run folder; an unfinished run there goes on")] = None,
    preset: Annotated[str | None, Parameter(help="named settings to start from, such as small or bert-base")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)")] = None,
    init: Annotated[Path | None, Parameter(help="model folder to go on from: its weights, shape, tokenizer")] = None,
    seed: Annotated[int | None, Parameter(help="decides weights, order, masks and dropout")] = None,
    budget: Annotated[str | None, Parameter(help="time for the run, as 4m or 2h; sets train.steps")] = None,
    show: Annotated[bool, Parameter(help="print every setting and where it comes from, and stop", negative="")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON for each event on stdout", negative="")] = False,
    settings: SettingPairs = (),
) -> int:
    """Pretrain a masked language model on a prepared folder. Ctrl-C stops with a checkpoint; the same command goes on.

    Any setting is an option too, as --train.steps 10000 or --masking.rate 0.2; --show lists them all.

    Example: maskling train --preset small --data data/ --out runs/mine --budget 30m
    """
    from maskling.train.recipe import read_recipe

    console = Console(as_json=json)
    named = {"preset": preset, "init": init, "seed": seed, "data__path": data, "train__budget": budget}
    resolved = read_recipe(layers(config, settings, **{name: _word(value) for name, value in named.items()}))
    if show:
        for line in shown(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        return 0
    from maskling.errors import SettingsError

    if out is None:
        raise SettingsError("training needs --out FOLDER; for example: maskling train --data data/ --out runs/mine")

    from maskling.cli.run_report import RunReport
    from maskling.train.pretrain import pretrain
    from maskling.train.signals import stop_asked

    report = RunReport(console, resolved.settings.train.log_every)
    with stop_asked() as stop:
        for event in pretrain(resolved.settings, out, stop=stop):
            report.show(event)
    return STOPPED if report.stopped else 0


def _word(value: object) -> str | None:
    return None if value is None else str(value)
