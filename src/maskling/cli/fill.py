"""`maskling fill`: what the model would put in place of each mask."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.texts import texts_from
from maskling.console import Console, table

if TYPE_CHECKING:
    from maskling.infer.answers import FilledMasks, FilledTogether


def fill(
    model: Path,
    *text: str,
    file: Annotated[Path | None, Parameter(help="read texts from this file, one a line; - is standard input")] = None,
    top_k: Annotated[int, Parameter(help="how many answers for each mask")] = 5,
    targets: Annotated[list[str] | None, Parameter(help="choose among these words only", consume_multiple=True)] = None,
    joint: Annotated[bool, Parameter(help="fill all masks of a text together", negative="")] = False,
    whole_words: Annotated[bool, Parameter(help="answers that are whole words only", negative="")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout", negative="")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda, mps")] = "auto",
) -> None:
    """Fill the masks of a text with a run, an export or any Hugging Face BERT, RoBERTa or ModernBERT folder.

    Example: maskling fill runs/mine "The quick brown [MASK] jumps over the lazy [MASK]."
    """
    from maskling.infer.load import load

    console = Console(as_json=json)
    texts = texts_from(text, file)
    loaded = load(model, device=device)
    answers = loaded.fill(texts, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)
    asked_and_filled: Iterable[tuple[str, FilledMasks | FilledTogether]] = zip(texts, answers, strict=True)
    for asked, filled in asked_and_filled:
        console.data(filled.as_dict())
        console.result(asked)
        for line in table(filled.rows()):
            console.result(line)
        console.result()
