"""`maskling extend`: extend a model to longer texts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_out_folder
from maskling.console import Console
from maskling.errors import SettingsError


def extend(
    model: Annotated[Path, Parameter(help="run, export, or Hugging Face folder")],
    /,
    *,
    positions: Annotated[int | None, Parameter(help="maximum sequence length of the new model, in tokens")] = None,
    rope_theta: Annotated[
        float | None, Parameter(help="ModernBERT: another base (theta) for the rotary positions of its global layers")
    ] = None,
    out: Annotated[Path | None, Parameter(help="folder to write the model into", metavar="FOLDER")] = None,
    json: Annotated[bool, Parameter(help="print the result as JSON on stdout")] = False,
) -> None:
    """Extend a model to longer texts.

    A table of positions (BERT, RoBERTa) is repeated from its start; ModernBERT has none. Results for texts that fitted
    before do not change, unless --rope-theta is given. Train the result on long texts with 'maskling train --init'. To
    add words, use 'maskling tokenizer extend'.

    Example: maskling extend runs/mine --positions 16384 --out longer/
    """
    if out is None or positions is None:
        raise SettingsError(
            "--positions and --out are needed: maskling extend runs/mine --positions 1024 --out longer/"
        )
    if rope_theta is not None and not rope_theta > 0:
        raise SettingsError(f"--rope-theta is {rope_theta:g}; it should be a number above 0, such as 160000")
    check_out_folder(out)

    from maskling.model.locate import find_model
    from maskling.train.extend import extend_positions

    console = Console(as_json=json)
    extend_positions(find_model(model), out, positions, rope_theta)
    console.note(f"{out} written and read back: {positions:,} positions")
    console.data({"folder": str(out), "positions": positions})
