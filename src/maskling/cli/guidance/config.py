"""`maskling config`: write a settings file to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_out_file
from maskling.cli.options import SettingPairs, setting_layers
from maskling.console import Console
from maskling.errors import SettingsError


def config(
    out: Annotated[Path, Parameter(help="file to write")] = Path("train.toml"),
    *,
    preset: Annotated[
        str | None, Parameter(help="named settings to start from; 'maskling presets' lists them", metavar="NAME")
    ] = None,
    force: Annotated[bool, Parameter(help="overwrite an existing file")] = False,
    json: Annotated[bool, Parameter(help="print the written settings as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Write a settings file to edit.

    It holds every setting of a run with its value and description, for 'maskling train --config'. Settings given here,
    such as --train.steps 5000, are in it. ('maskling init' is the former name of this verb.)

    Example: maskling config train.toml --preset small
    """
    from maskling.files import atomic_write
    from maskling.train.recipe import commented_toml, read_recipe

    check_out_file(out)
    if out.exists() and not force:
        raise SettingsError(f"{out} exists already; choose another name, or --force to overwrite it")
    resolved = read_recipe(setting_layers(None, settings, preset=preset))
    with atomic_write(out) as file:
        file.write(commented_toml(resolved.settings).encode())
    console = Console(as_json=json)
    console.note(f"{out} written; edit it, then: maskling train --config {out} --data data/ --out runs/mine")
    console.data({"file": str(out), "settings": resolved.settings.model_dump(mode="json")})
