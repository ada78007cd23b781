"""`maskling fill`: fill the masks of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.format import shortened, table
from maskling.cli.options import SettingPairs
from maskling.cli.texts import FILE_HELP, TEXT_FIELD_HELP, Texts, read_texts
from maskling.console import Console, counted
from maskling.errors import SettingsError, TokenizerError
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
    file: Annotated[Path | None, Parameter(help=FILE_HELP)] = None,
    text_field: Annotated[str | None, Parameter(help=TEXT_FIELD_HELP, metavar="NAME")] = None,
    top_k: Annotated[int, Parameter(help="number of candidates per mask")] = 5,
    targets: Annotated[
        list[str] | None, Parameter(help="choose among these words only", consume_multiple=True, metavar="WORD ...")
    ] = None,
    joint: Annotated[bool, Parameter(help="fill all masks of a text jointly, so that they fit together")] = False,
    whole_words: Annotated[bool, Parameter(help="choose among whole words only")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON per text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Fill the masks of a text.

    For BERT, RoBERTa and ModernBERT models; [MASK] and <mask> both mean the model's mask token. Several masks are
    filled independently, unless --joint is given.

    Example: maskling fill runs/mine "The quick brown [MASK] jumps over the lazy [MASK]."
    """
    console = Console(as_json=json)
    masked = next((word for word in targets or () if any(mark in word for mark in ("[MASK]", "<mask>"))), None)
    if masked is not None:
        raise SettingsError(
            f"--targets has '{shortened(masked, 60)}', which has a mask in it: give the text before --targets, and "
            f"words after it"
        )
    texts = read_texts(text, file, settings, text_field)

    from maskling.infer.model import load

    loaded = load(model, device=device)

    def fill_some(some: list[str]) -> Sequence[FilledMasks | FilledTogether]:
        return loaded.fill(some, top_k=top_k, targets=targets, joint=joint, whole_words=whole_words)

    done = bad = 0
    for some in grouped(texts, len, _CHARACTERS, _AT_ONCE):
        first, number = done, len(some)
        try:
            results = fill_some(some)
        except TokenizerError as error:
            hint = " (put a text of several words in quotes)" if len(text) > 1 else ""
            if text:
                raise TokenizerError(f"{error}{hint}") from None
            some, results = _fill_each(some, fill_some, partial(_where, texts, first), console)
            bad += number - len(some)
            if bad == len(texts):
                raise TokenizerError(f"{texts.where(0)}: {error}") from None
        console.clear()
        _show(console, some, results, loaded.max_length, again=done > bad)
        done += number
        if done < len(texts):
            console.progress(f"filled {done:,} of {counted(len(texts), 'text')}", done, len(texts))


def _where(texts: Texts, first: int, index: int) -> str:
    return texts.where(first + index)


def _fill_each(
    texts: list[str],
    fill_some: Callable[[list[str]], Sequence[FilledMasks | FilledTogether]],
    where: Callable[[int], str],
    console: Console,
) -> tuple[list[str], list[FilledMasks | FilledTogether]]:
    """Fill texts one by one, and warn of those that cannot be filled. Returns the others with their results."""
    filled: list[str] = []
    results: list[FilledMasks | FilledTogether] = []
    for index, text in enumerate(texts):
        try:
            results += fill_some([text])
        except TokenizerError as error:
            console.clear()
            console.warn(f"{where(index)} is left out: {error}")
        else:
            filled.append(text)
    return filled, results


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
