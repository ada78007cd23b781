"""`maskling fill`: what the model would put in place of each mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.inputs import Texts
from maskling.console import Console, counted
from maskling.errors import TokenizerError

if TYPE_CHECKING:
    from maskling.infer.results import FilledMasks, FilledTogether

# Texts that are filled before their answers are printed.
_AT_ONCE = 256


def fill(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *text: Annotated[str, Parameter(help="texts with [MASK] in them, each in quotes; - alone is standard input")],
    file: Annotated[Path | None, Parameter(help="read texts from this file, one a line; - is standard input")] = None,
    top_k: Annotated[int, Parameter(help="how many answers for each mask")] = 5,
    targets: Annotated[
        list[str] | None, Parameter(help="choose among these words only", consume_multiple=True, metavar="WORD ...")
    ] = None,
    joint: Annotated[bool, Parameter(help="fill all masks of a text together, so that they suit each other")] = False,
    whole_words: Annotated[bool, Parameter(help="answer with whole words only")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Fill the masks of a text.

    With a BERT, RoBERTa or ModernBERT model; [MASK] and <mask> both mean its mask. Several masks are filled each by
    itself, unless --joint.

    Example: maskling fill runs/mine "The quick brown [MASK] jumps over the lazy [MASK]."
    """
    console = Console(as_json=json)
    texts = Texts.of(text, file).lines

    from maskling.infer.model import load

    loaded = load(model, device=device)
    for first in range(0, len(texts), _AT_ONCE):
        asked = texts[first : first + _AT_ONCE]
        try:
            answers = loaded.fill(asked, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)
        except TokenizerError as error:
            hint = " (a text of several words stands in quotes)" if len(text) > 1 else ""
            raise TokenizerError(f"{error}{hint}") from None
        console.clear()
        _show(console, asked, answers, loaded.max_length, again=bool(first))
        done = first + len(asked)
        if done < len(texts):
            console.progress(f"filled {done:,} of {counted(len(texts), 'text')}", done, len(texts))


def _show(
    console: Console, texts: list[str], answers: Sequence[FilledMasks | FilledTogether], longest: int, again: bool
) -> None:
    """Print answers. again: whether others stand above them."""
    for number, (asked, filled) in enumerate(zip(texts, answers, strict=True)):
        console.data(filled.as_dict())
        if number or again:
            console.result()
        console.result(asked)
        for line in table(filled.rows()):
            console.result(line)
        if filled.cut:
            console.warn(f"the text was longer than the {longest:,} tokens this model sees, and was cut")
