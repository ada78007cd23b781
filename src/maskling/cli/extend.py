"""`maskling extend`: extend a model to longer texts, or to a tokenizer with more tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_out_folder
from maskling.console import Console, counted
from maskling.errors import SettingsError, listing


def extend(
    model: Annotated[Path, Parameter(help="run, export, or Hugging Face folder")],
    /,
    *,
    positions: Annotated[int | None, Parameter(help="maximum sequence length of the new model, in tokens")] = None,
    tokenizer: Annotated[
        Path | None, Parameter(help="resize the vocabulary of the model to this tokenizer", metavar="FOLDER")
    ] = None,
    rope_theta: Annotated[
        float | None, Parameter(help="ModernBERT: another base (theta) for the rotary positions of its global layers")
    ] = None,
    out: Annotated[Path | None, Parameter(help="folder to write the model into", metavar="FOLDER")] = None,
    json: Annotated[bool, Parameter(help="print the result as JSON on stdout")] = False,
) -> None:
    """Extend a model to longer texts, or to a tokenizer with more tokens.

    A table of positions (BERT, RoBERTa) is repeated from its start; ModernBERT has none. Results for texts that fitted
    before do not change, unless --rope-theta is given. Train the result on long texts with 'maskling train --init'.

    With --tokenizer, add a row per new token to the embedding and the output layer, initialized to the mean of the old
    rows; the old tokens must keep their ids. To add words to model and tokenizer, use 'maskling tokenizer extend'.

    Example: maskling extend runs/mine --positions 16384 --out longer/
    """
    if out is None or (positions is None) == (tokenizer is None):
        raise SettingsError(
            "--positions and --out are needed: maskling extend runs/mine --positions 1024 --out longer/; or "
            "--tokenizer FOLDER instead of --positions"
        )
    if tokenizer is not None and rope_theta is not None:
        raise SettingsError("--rope-theta goes with --positions; leave it out")
    if rope_theta is not None and not rope_theta > 0:
        raise SettingsError(f"--rope-theta is {rope_theta:g}; it should be a number above 0, such as 160000")
    check_out_folder(out)

    from maskling.model.locate import find_model
    from maskling.train.extend import extend_positions, extend_to_tokenizer

    console = Console(as_json=json)
    if tokenizer is not None:
        new = extend_to_tokenizer(find_model(model), out, tokenizer)
        console.note(f"{out} written and read back: {counted(len(new), 'new row')} for {listing(new)}")
        console.data({"folder": str(out), "new_tokens": list(new)})
        return
    assert positions is not None
    extend_positions(find_model(model), out, positions, rope_theta)
    console.note(f"{out} written and read back: {positions:,} positions")
    console.data({"folder": str(out), "positions": positions})
