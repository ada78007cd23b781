"""`maskling score`: score texts by their pseudo-log-likelihood."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.options import SettingPairs
from maskling.cli.texts import FILE_HELP, TEXT_FIELD_HELP, read_texts
from maskling.console import Console, counted
from maskling.grouping import grouped

if TYPE_CHECKING:
    from maskling.infer.score import ScoredText

# Texts, and characters, that are scored before their scores are printed.
_AT_ONCE = 256
_CHARACTERS = 1 << 22


def score(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *text: Annotated[str, Parameter(help="texts, each in quotes; - alone is standard input")],
    file: Annotated[Path | None, Parameter(help=FILE_HELP)] = None,
    text_field: Annotated[str | None, Parameter(help=TEXT_FIELD_HELP, metavar="NAME")] = None,
    method: Annotated[
        Literal["original", "within-word-l2r"],
        Parameter(help="mask one token at a time, or also the rest of its word"),
    ] = "original",
    per: Annotated[
        Literal["text", "word", "token"], Parameter(help="also show the score of each word or token")
    ] = "text",
    json: Annotated[bool, Parameter(help="one line of JSON per text on stdout")] = False,
    dtype: Annotated[
        Literal["fp32", "bf16"], Parameter(help="precision of the calculation; bf16 is faster and less exact")
    ] = "fp32",
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Score texts by their likelihood under a model.

    The score is the pseudo-log-likelihood: each token is masked in turn, and the natural logarithms of the
    probabilities of the true tokens are added up. Higher is more likely; longer texts score lower.

    Example: maskling score runs/mine "The dog barks at the cat." "The dog bark at the cat."
    """
    console = Console(as_json=json)
    texts = read_texts(text, file, settings, text_field)

    from maskling.infer.model import load
    from maskling.infer.score import ScoreTotals, score_texts

    loaded = load(model, device=device, dtype=dtype)
    totals = ScoreTotals()
    for some in grouped(texts, len, _CHARACTERS, _AT_ONCE):

        def on_progress(done: int, total: int, before: int = totals.texts, count: int = len(some)) -> None:
            if (so_far := before + done / total * count) < len(texts):
                console.progress("scoring", so_far, len(texts))

        scored = score_texts(loaded, some, method=method, on_progress=on_progress)
        console.clear()
        for line in _lines(scored, per, heads=not totals.texts):
            console.result(line)
        for one in scored:
            console.data(one.as_dict(per))
            totals.add(one)
    if totals.texts > 1:
        console.note(
            f"{counted(totals.texts, 'text')}: perplexity {totals.perplexity:,.1f} per token, "
            f"{totals.word_perplexity:,.1f} per word"
        )
    if totals.unknown:
        console.warn(
            f"{counted(totals.unknown, 'token')} unknown to this vocabulary and scored as "
            f"{loaded.tokenizer.token(loaded.tokenizer.special.unk)}"
        )
    if totals.windows:
        console.note(
            f"{counted(totals.windows, 'text')} longer than the {loaded.max_length:,} tokens this model reads: each "
            f"token was scored in the window around it"
        )
    if texts.empty_lines:
        console.warn(f"{counted(texts.empty_lines, 'empty line')} skipped: score numbers and line numbers differ")


def _lines(scores: list[ScoredText], per: Literal["text", "word", "token"], heads: bool) -> list[str]:
    if per == "text":
        rows = [[f"{one.total:.3f}", f"{one.perplexity:,.1f}", one.text] for one in scores]
        return table([["log p", "perplexity", "text"], *rows], indent="", heads=True)[0 if heads else 1 :]
    lines = []
    for one in scores:
        pieces = one.tokens if per == "token" else one.words
        lines += [f"{one.total:.3f}  {one.text}", *table([[f"{log:.3f}", piece] for piece, log in pieces])]
    return lines
