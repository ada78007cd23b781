"""`maskling score`: how likely a model finds texts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.inputs import Texts
from maskling.console import Console, counted

if TYPE_CHECKING:
    from maskling.infer.results import ScoredText

# Texts that are scored before their scores are printed.
_AT_ONCE = 256


def score(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *text: Annotated[str, Parameter(help="texts, each in quotes; - alone is standard input")],
    file: Annotated[Path | None, Parameter(help="read texts from this file, one a line; - is standard input")] = None,
    method: Annotated[
        Literal["original", "within-word-l2r"],
        Parameter(help="mask one token at a time, or the rest of its word with it"),
    ] = "original",
    per: Annotated[Literal["text", "word", "token"], Parameter(help="also show each word, or each token")] = "text",
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout")] = False,
    dtype: Annotated[
        Literal["fp32", "bf16"], Parameter(help="numbers to calculate in; bf16 is faster, coarser")
    ] = "fp32",
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Score texts by how likely a model finds them.

    Pseudo-log-likelihood: each token is masked in turn, and the natural logarithms of the probabilities that the model
    gives to the true tokens are added up. Higher is likelier; longer texts score lower.

    Example: maskling score runs/mine "The dog barks at the cat." "The dog bark at the cat."
    """
    console = Console(as_json=json)
    texts = Texts.of(text, file)

    from maskling.infer.model import load
    from maskling.infer.results import perplexity, word_perplexity
    from maskling.infer.score import Scoring

    loaded = load(model, device=device, dtype=dtype)
    scores: list[ScoredText] = []
    for first in range(0, len(texts.lines), _AT_ONCE):
        asked = texts.lines[first : first + _AT_ONCE]
        scoring = Scoring(loaded, asked, method=method)
        for share in scoring.run():
            done = first + share * len(asked)
            if done < len(texts.lines):
                console.progress("scoring", done, len(texts.lines))
        some = scoring.texts()
        console.clear()
        for one in some:
            console.data(one.as_dict(per))
        for line in _lines(some, per, heads=not first):
            console.result(line)
        scores += some
    if len(scores) > 1:
        console.note(
            f"{counted(len(scores), 'text')}: perplexity {perplexity(scores):,.1f} a token, "
            f"{word_perplexity(scores):,.1f} a word"
        )
    unknown = sum(one.unknown for one in scores)
    if unknown:
        console.warn(
            f"{counted(unknown, 'token')} unknown to this vocabulary: what stands there is scored as "
            f"{loaded.tokenizer.token(loaded.tokenizer.special.unk)}, whatever it is"
        )
    windows = sum(one.windows for one in scores)
    if windows:
        console.note(
            f"{counted(windows, 'text')} longer than the {loaded.max_length:,} tokens this model sees: each token was "
            f"scored in the stretch around it"
        )
    if texts.empty_lines:
        console.warn(f"{counted(texts.empty_lines, 'empty line')} passed over: scores and lines do not count alike")


def _lines(scores: list[ScoredText], per: Literal["text", "word", "token"], heads: bool) -> list[str]:
    if per == "text":
        rows = [[f"{one.total:.3f}", f"{one.perplexity:,.1f}", one.text] for one in scores]
        return table([["log p", "perplexity", "text"], *rows], indent="", heads=True)[0 if heads else 1 :]
    lines = []
    for one in scores:
        pieces = one.tokens if per == "token" else one.words
        lines += [f"{one.total:.3f}  {one.text}", *table([[f"{log:.3f}", piece] for piece, log in pieces])]
    return lines
