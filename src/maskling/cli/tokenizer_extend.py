"""`maskling tokenizer extend`: words of a domain become tokens of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.layout import table
from maskling.cli.places import check_out_folder, check_sources
from maskling.cli.reading import followed, read_as
from maskling.cli.settings import SettingPairs
from maskling.cli.texts import Texts
from maskling.console import Console, counted
from maskling.errors import SettingsError

_SHOWN = 20


def tokenizer_extend(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *,
    text: Annotated[
        list[str] | None,
        Parameter(help="text of the domain, as 'prepare' reads it", consume_multiple=True, metavar="FILE ..."),
    ] = None,
    words: Annotated[
        Path | None, Parameter(help="add the words of this file, one a line; - is standard input", metavar="FILE")
    ] = None,
    count: Annotated[int, Parameter(help="without --words: most words to add")] = 500,
    min_count: Annotated[int, Parameter(help="without --words: how often a word must occur")] = 10,
    out: Annotated[Path | None, Parameter(help="folder to write the model into", metavar="FOLDER")] = None,
    json: Annotated[bool, Parameter(help="what was added as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Add words to a model's vocabulary.

    Those of the text that save most tokens, or those of a file. Each becomes an ordinary token that begins as the mean
    of its old pieces; all other text keeps its tokens. The result is a new model folder: train it further on the
    domain with 'maskling train --init'.

    Example: maskling tokenizer extend runs/mine --text books/ --count 200 --out extended/
    """
    if out is None:
        raise SettingsError("say where to write: maskling tokenizer extend runs/mine --text FILE --out extended/")
    if text is None and words is None:
        raise SettingsError("say which words to add: --text FILE ... finds them in text, --words FILE names them")
    if count < 1 or min_count < 1:
        raise SettingsError("--count and --min-count are 1 or more")
    reading = read_as(settings, text, "--text FILE ...")
    check_sources(text or ())
    check_out_folder(out)
    named = None if words is None else Texts.of((), words).lines

    from maskling.model.place import find_model
    from maskling.train.extending import extend_words

    console = Console(as_json=json)
    report = followed(console)
    done = extend_words(find_model(model), out, text or (), named, count, min_count, reading, report)
    console.clear()
    console.warn_of(report.problems())
    rows = [
        [word.text, f"{word.count:,}" if text else "", f"{len(word.pieces)} pieces"] for word in done.words[:_SHOWN]
    ]
    for line in table(rows):
        console.result(line)
    if len(done.words) > _SHOWN:
        console.result(f"  and {len(done.words) - _SHOWN:,} more")
    console.note(f"{out} written and read back: {counted(len(done.words), 'token')} more, {done.vocab_size:,} in all")
    if done.tokens_before and done.tokens_after is not None:
        less = 100 * (1 - done.tokens_after / done.tokens_before)
        console.note(f"the text took {done.tokens_before:,} tokens and takes {done.tokens_after:,}: {less:.1f}% fewer")
    console.data(
        {
            "folder": str(out),
            "vocab_size": done.vocab_size,
            "tokens_before": done.tokens_before,
            "tokens_after": done.tokens_after,
            "words": [
                {"text": word.text, "token": word.token, "pieces": len(word.pieces), "count": word.count}
                for word in done.words
            ],
        }
    )
