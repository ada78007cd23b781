"""`maskling tokenizer`: a vocabulary of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.inputs import SOURCES, check_out_folder, check_sources, followed, read_as, read_texts, visible
from maskling.cli.options import SettingPairs, layers, shown
from maskling.console import Console, counted
from maskling.errors import SettingsError

# FOLDED DOCS
# [tokenizer_extend] `maskling tokenizer extend`: words of a domain become tokens of a model.


# What a tokenizer's folder may hold. Anything else is something to keep.
FILES = {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", "vocab.json", "merges.txt"}


def tokenizer(
    *sources: Annotated[str, Parameter(help=SOURCES)],
    out: Annotated[Path | None, Parameter(help="folder to write the tokenizer's files into", metavar="FOLDER")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)", metavar="FILE")] = None,
    max_length: Annotated[int | None, Parameter(help="longest sequence, written into tokenizer_config.json")] = None,
    force: Annotated[bool, Parameter(help="write over a tokenizer that is there")] = False,
    show: Annotated[bool, Parameter(help="print every setting and where it comes from, and stop")] = False,
    json: Annotated[bool, Parameter(help="the result as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Train a vocabulary and nothing else.

    'maskling prepare' does the same on its way, and --tokenizer.path gives it this one. Kinds: wordpiece (BERT), bpe
    (byte-level, as RoBERTa), unigram (as SentencePiece). The same text gives the same files, on any machine.

    Example: maskling tokenizer books/ --out tok/ --tokenizer.kind bpe --tokenizer.vocab-size 8000
    """
    from maskling.config import resolve
    from maskling.data.prepare.tokenizer_stage import TokenizerTrainingSettings, train_tokenizer
    from maskling.errors import SettingsError

    console = Console(as_json=json)
    resolved = resolve(TokenizerTrainingSettings, layers(config, settings, max_length=max_length))
    if show:
        for line in shown(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        return
    if not sources or out is None:
        raise SettingsError("say what to read and where to write: maskling tokenizer books/ --out tok/")
    if resolved.settings.tokenizer.path is not None:
        raise SettingsError(
            "tokenizer.path names a tokenizer that is there already, and this verb trains one; leave it out"
        )
    check_sources(sources)
    check_out_folder(out)
    if others := [name for name in visible(out) if name not in FILES]:
        raise SettingsError(f"{out} holds other things than a tokenizer ({others[0]}); give another folder with --out")
    if visible(out) and not force:
        raise SettingsError(f"{out} holds a tokenizer already; give another folder, or --force to write over it")

    from maskling.cli.prepare import PrepareReport
    from maskling.corpus.opening import ReadReport
    from maskling.tokenizer.tokenizer import Tokenizer

    shown_by, report = PrepareReport(console, resolved.settings.tokenizer.vocab_size), ReadReport()
    for event in train_tokenizer(sources, out, resolved.settings, report):
        shown_by.show(event)
    console.warn_of(report.problems())
    console.note(f"written to {out}; use it with: maskling prepare ... --tokenizer.path {out}")
    made = Tokenizer.load(out)
    console.data({"folder": str(out), "vocab_size": made.vocab_size, "fingerprint": made.fingerprint})


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
    named = None if words is None else list(read_texts((), words))

    from maskling.model.locate import find_model
    from maskling.train.extend import extend_words

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
