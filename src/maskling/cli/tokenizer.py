"""`maskling tokenizer` and `maskling tokenizer extend`: train a tokenizer, or add words to a model's vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.format import table
from maskling.cli.inputs import (
    SOURCES,
    check_out_folder,
    check_sources,
    corpus_settings,
    reading_report,
    visible_names,
)
from maskling.cli.options import SettingPairs, setting_layers, setting_lines
from maskling.cli.texts import read_texts
from maskling.console import Console, counted
from maskling.errors import SettingsError

# Files of a tokenizer folder. A folder with any other file is not overwritten.
_TOKENIZER_FILES = {
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("vocab.txt", "vocab.json", "merges.txt"),
}
_MAX_SHOWN = 20


def tokenizer(
    *sources: Annotated[str, Parameter(help=SOURCES)],
    out: Annotated[Path | None, Parameter(help="folder to write the tokenizer's files to", metavar="FOLDER")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)", metavar="FILE")] = None,
    max_length: Annotated[int | None, Parameter(help="maximum sequence length, for tokenizer_config.json")] = None,
    force: Annotated[bool, Parameter(help="overwrite an existing tokenizer")] = False,
    show: Annotated[bool, Parameter(help="print every setting and its origin, and exit")] = False,
    json: Annotated[bool, Parameter(help="print the result as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Train a tokenizer only.

    'maskling prepare' trains one as part of its work; its option --tokenizer.path uses an existing one. Kinds:
    wordpiece (BERT), bpe (byte-level, as RoBERTa), unigram (as SentencePiece), and for molecules, proteins, DNA and
    logs characters, regex, kmer and words. The same text gives the same files on any machine.

    Example: maskling tokenizer books/ --out tok/ --tokenizer.kind bpe --tokenizer.vocab-size 8000
    """
    from maskling.config import resolve
    from maskling.data.prepare.tokenizer_stage import TokenizerTrainingSettings, train_tokenizer
    from maskling.errors import SettingsError

    console = Console(as_json=json)
    resolved = resolve(TokenizerTrainingSettings, setting_layers(config, settings, max_length=max_length))
    if show:
        for line in setting_lines(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        return
    if resolved.settings.tokenizer.add_missing:
        raise SettingsError("tokenizer.add_missing is for an existing tokenizer in 'maskling prepare'; leave it out")
    if not sources or out is None:
        raise SettingsError("give text to read and a folder to write: maskling tokenizer books/ --out tok/")
    if resolved.settings.tokenizer.path is not None:
        raise SettingsError("tokenizer.path names an existing tokenizer, but this verb trains a new one; leave it out")
    check_sources(sources)
    check_out_folder(out)
    if others := [name for name in visible_names(out) if name not in _TOKENIZER_FILES]:
        raise SettingsError(f"{out} holds other files than a tokenizer ({others[0]}); give another folder with --out")
    if visible_names(out) and not force:
        raise SettingsError(f"{out} holds a tokenizer already; give another folder, or --force to overwrite it")

    from maskling.cli.prepare import PrepareReport
    from maskling.corpus.opening import ReadReport
    from maskling.tokenizer.tokenizer import Tokenizer

    view, report = PrepareReport(console, resolved.settings.tokenizer.vocab_size), ReadReport()
    for event in train_tokenizer(sources, out, resolved.settings, report):
        view.show(event)
    console.warn_each(report.problems())
    console.note(f"written to {out}; use it with: maskling prepare ... --tokenizer.path {out}")
    trained = Tokenizer.load(out)
    console.data({"folder": str(out), "vocab_size": trained.vocab_size, "fingerprint": trained.fingerprint})


def tokenizer_extend(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *,
    text: Annotated[
        list[str] | None,
        Parameter(help="text of the domain, as for 'prepare'", consume_multiple=True, metavar="FILE ..."),
    ] = None,
    words: Annotated[
        Path | None, Parameter(help="add the words of this file, one per line; - is standard input", metavar="FILE")
    ] = None,
    special: Annotated[
        Path | None,
        Parameter(help="add the lines of this file, such as [URL], as special tokens that stay whole", metavar="FILE"),
    ] = None,
    skip_unusable: Annotated[bool, Parameter(help="add the other words if some of the file cannot be added")] = False,
    add_missing: Annotated[bool, Parameter(help="add [MASK], [PAD], ... if the model's tokenizer lacks them")] = False,
    count: Annotated[int, Parameter(help="without --words: maximum number of words to add")] = 500,
    min_count: Annotated[int, Parameter(help="without --words: minimum number of occurrences of a word")] = 10,
    out: Annotated[Path | None, Parameter(help="folder to write the model to", metavar="FOLDER")] = None,
    json: Annotated[bool, Parameter(help="print the result as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Add words to a model's vocabulary.

    Adds the words of the text that save the most tokens, or the words of a file. Each becomes an ordinary token whose
    embedding starts as the mean of its former subwords; all other text keeps its tokens. What the tokenizer splits
    (covid-19, C++, [URL]) can be added as special tokens, with --special. The result is a new model folder: continue
    training it on the domain with 'maskling train --init'.

    Example: maskling tokenizer extend runs/mine --text books/ --count 200 --out extended/
    """
    if out is None:
        raise SettingsError("give a folder to write: maskling tokenizer extend runs/mine --text FILE --out extended/")
    if text is None and words is None and special is None and not add_missing:
        raise SettingsError(
            "give the words to add: --text FILE ... finds them in text, --words FILE and --special FILE list them"
        )
    if skip_unusable and words is None and special is None:
        raise SettingsError("--skip-unusable is for words that are listed; give them with --words or --special")
    if str(words) == str(special) == "-":
        raise SettingsError("standard input is read once; give --words or --special a file")
    if count < 1 or min_count < 1:
        raise SettingsError("--count and --min-count should be at least 1")
    reading = corpus_settings(settings, text, "--text FILE ...")
    check_sources(text or ())
    check_out_folder(out)
    named, whole = (None if file is None else list(read_texts((), file)) for file in (words, special))

    from maskling.model.locate import find_model
    from maskling.train.extend import extend_words

    console = Console(as_json=json)
    report = reading_report(console)
    done = extend_words(
        find_model(model),
        out,
        text or (),
        named,
        count,
        min_count,
        reading,
        report,
        special=whole,
        skip_unusable=skip_unusable,
        add_missing=add_missing,
    )
    console.clear()
    console.warn_each(report.problems())
    console.warn_each(f"{word!r} was left out: {reason}" for word, reason in done.unusable.items())
    for word, normal in done.folded.items():
        console.note(f"{word!r} is added as {normal!r}, which is how this tokenizer reads it")
    if add_missing:
        console.note(f"special tokens added: {', '.join(done.roles) or 'none, the tokenizer has them all'}")
    rows = [
        [
            word.text,
            "special" if word.is_special else f"{word.count:,}" if text else "",
            counted(len(word.pieces), "piece"),
        ]
        for word in done.words[:_MAX_SHOWN]
    ]
    for line in table(rows):
        console.result(line)
    if len(done.words) > _MAX_SHOWN:
        console.result(f"  and {len(done.words) - _MAX_SHOWN:,} more")
    if text and named is None and whole is None and len(done.words) < count:
        console.note(
            f"fewer than {count:,}: no other word saves tokens and occurs {min_count:,} times or more (--min-count)"
        )
    console.note(
        f"{out} written and loaded back: {counted(len(done.words), 'new token')}, {done.vocab_size:,} in total"
    )
    if done.tokens_before and done.tokens_after is not None:
        less = 100 * (1 - done.tokens_after / done.tokens_before)
        console.note(f"the text had {done.tokens_before:,} tokens and has {done.tokens_after:,} now: {less:.1f}% fewer")
    console.data(
        {
            "folder": str(out),
            "vocab_size": done.vocab_size,
            "tokens_before": done.tokens_before,
            "tokens_after": done.tokens_after,
            "words": [
                {
                    "text": word.text,
                    "token": word.token,
                    "pieces": len(word.pieces),
                    "count": word.count,
                    "special": word.is_special,
                }
                for word in done.words
            ],
            "left_out": dict(done.unusable),
            "normalized": dict(done.folded),
            "roles_added": list(done.roles),
        }
    )
