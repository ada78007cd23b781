"""`maskling tokenizer`: a vocabulary of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.places import SOURCES, check_out_folder, check_sources, visible
from maskling.cli.settings import SettingPairs, layers, shown
from maskling.console import Console

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
    from maskling.data.vocabulary import VocabularySettings, learn_vocabulary
    from maskling.errors import SettingsError

    console = Console(as_json=json)
    resolved = resolve(VocabularySettings, layers(config, settings, max_length=max_length))
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

    from maskling.cli.prepare_report import PrepareReport
    from maskling.corpus.report import ReadReport
    from maskling.tokenizer.tokenizer import Tokenizer

    shown_by, report = PrepareReport(console, resolved.settings.tokenizer.vocab_size), ReadReport()
    for event in learn_vocabulary(sources, out, resolved.settings, report):
        shown_by.show(event)
    console.warn_of(report.problems())
    console.note(f"written to {out}; use it with: maskling prepare ... --tokenizer.path {out}")
    made = Tokenizer.load(out)
    console.data({"folder": str(out), "vocab_size": made.vocab_size, "fingerprint": made.fingerprint})
