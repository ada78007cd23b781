"""`maskling init`: a settings file to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.settings import SettingPairs, layers
from maskling.console import Console


def init(
    out: Annotated[Path, Parameter(help="the file to write")] = Path("train.toml"),
    *,
    preset: Annotated[str | None, Parameter(help="named settings to start from, such as small or bert-base")] = None,
    force: Annotated[bool, Parameter(help="write over a file that is there", negative="")] = False,
    settings: SettingPairs = (),
) -> None:
    """Write a settings file with every setting, its value and what it means, to edit and give to 'train --config'.

    Example: maskling init train.toml --preset small
    """
    from maskling.errors import SettingsError
    from maskling.files import written_aside
    from maskling.train.recipe import read_recipe
    from maskling.train.written import commented_toml

    if out.exists() and not force:
        raise SettingsError(f"{out} is there already; choose another name, or --force to write over it")
    resolved = read_recipe(layers(None, settings, preset=preset))
    with written_aside(out) as file:
        file.write(commented_toml(resolved.settings).encode())
    Console().note(f"{out} written; edit it, then: maskling train --config {out} --data data/ --out runs/mine")
