"""`maskling fill`: what the model would put in place of each mask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.layout import table
from maskling.cli.texts import Texts
from maskling.console import Console
from maskling.errors import TokenizerError

if TYPE_CHECKING:
    from maskling.infer.answers import FilledMasks, FilledTogether


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

    from maskling.infer.load import load

    loaded = load(model, device=device)
    try:
        answers = loaded.fill(texts, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)
    except TokenizerError as error:
        hint = " (a text of several words stands in quotes)" if len(text) > 1 else ""
        raise TokenizerError(f"{error}{hint}") from None
    asked_and_filled: Iterable[tuple[str, FilledMasks | FilledTogether]] = zip(texts, answers, strict=True)
    for number, (asked, filled) in enumerate(asked_and_filled):
        console.data(filled.as_dict())
        if number:
            console.result()
        console.result(asked)
        for line in table(filled.rows()):
            console.result(line)
        if filled.cut:
            console.warn(f"the text was longer than the {loaded.max_length:,} tokens this model sees, and was cut")
