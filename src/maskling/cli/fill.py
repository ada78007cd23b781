"""`maskling fill`: fill the masks of texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.inputs import read_texts
from maskling.console import Console, counted
from maskling.errors import TokenizerError
from maskling.grouping import grouped

if TYPE_CHECKING:
    from maskling.infer.results import FilledMasks, FilledTogether

# Texts, and characters, that are filled before their results are printed.
_AT_ONCE = 256
_CHARACTERS = 1 << 22


def fill(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *text: Annotated[str, Parameter(help="texts with [MASK] in them, each in quotes; - alone is standard input")],
    file: Annotated[Path | None, Parameter(help="read texts from this file, one per line; - is standard input")] = None,
    top_k: Annotated[int, Parameter(help="number of candidates per mask")] = 5,
    targets: Annotated[
        list[str] | None, Parameter(help="choose among these words only", consume_multiple=True, metavar="WORD ...")
    ] = None,
    joint: Annotated[bool, Parameter(help="fill all masks of a text jointly, so that they fit together")] = False,
    whole_words: Annotated[bool, Parameter(help="choose among whole words only")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON per text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Fill the masks of a text.

    For BERT, RoBERTa and ModernBERT models; [MASK] and <mask> both mean the model's mask token. Several masks are
    filled independently, unless --joint is given.

    Example: maskling fill runs/mine "The quick brown [MASK] jumps over the lazy [MASK]."
    """
    console = Console(as_json=json)
    texts = read_texts(text, file)

    from maskling.infer.model import load

    loaded = load(model, device=device)
    done = 0
    for some in grouped(texts, len, _CHARACTERS, _AT_ONCE):
        try:
            results = loaded.fill(some, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)
        except TokenizerError as error:
            hint = " (put a text of several words in quotes)" if len(text) > 1 else ""
            raise TokenizerError(f"{error}{hint}") from None
        console.clear()
        _show(console, some, results, loaded.max_length, again=bool(done))
        done += len(some)
        if done < len(texts):
            console.progress(f"filled {done:,} of {counted(len(texts), 'text')}", done, len(texts))


def _show(
    console: Console, texts: list[str], results: Sequence[FilledMasks | FilledTogether], longest: int, again: bool
) -> None:
    """Print results. again: whether others were printed above them."""
    for index, (text, filled) in enumerate(zip(texts, results, strict=True)):
        console.data(filled.as_dict())
        if index or again:
            console.result()
        console.result(text)
        for line in table(filled.rows()):
            console.result(line)
        if filled.cut:
            console.warn(f"the text was longer than the {longest:,} tokens this model reads, and was cut")
