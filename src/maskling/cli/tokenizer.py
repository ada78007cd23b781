"""`maskling tokenizer`: a vocabulary of your own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.settings import SettingPairs, layers
from maskling.console import Console


def tokenizer(
    *sources: Annotated[str, Parameter(help="files, folders, globs, URLs, -, python-docs:, hf:NAME[:CONFIG[:SPLIT]]")],
    out: Annotated[Path | None, Parameter(help="folder to write the tokenizer's files into")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)")] = None,
    settings: SettingPairs = (),
) -> None:
    """Train a tokenizer and nothing else; 'prepare' does the same on its way.

    Kinds: wordpiece (BERT), bpe (byte-level, as RoBERTa), unigram (as SentencePiece). The same text gives the same
    files, on any machine.

    Example: maskling tokenizer books/ --out tok/ --tokenizer.kind bpe --tokenizer.vocab-size 8000
    """
    from maskling.config import resolve
    from maskling.data.vocabulary import VocabularySettings, learn_vocabulary
    from maskling.errors import SettingsError

    resolved = resolve(VocabularySettings, layers(config, settings)).settings
    if not sources or out is None:
        raise SettingsError("say what to read and where to write: maskling tokenizer books/ --out tok/")
    if out.exists() and any(out.iterdir()) and not (out / "tokenizer.json").exists():
        raise SettingsError(f"{out} holds something else than a tokenizer; give another folder with --out")

    from maskling.cli.prepare_report import PrepareReport

    console = Console()
    report = PrepareReport(console)
    for event in learn_vocabulary(sources, out, resolved):
        report.show(event)
    console.note(f"written to {out}; use it with: maskling prepare ... --tokenizer.path {out}")
