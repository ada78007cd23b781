"""`maskling prepare`: from text to shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.places import SOURCES, check_out_folder, check_sources
from maskling.cli.settings import SettingPairs, layers, shown
from maskling.console import Console

# What decides a tokenizer that is trained.
TRAINING = [
    f"tokenizer.{name}"
    for name in ("kind", "vocab_size", "lowercase", "strip_accents", "split_chinese", "min_count", "max_alphabet")
]


def prepare(
    *sources: Annotated[str, Parameter(help=SOURCES)],
    out: Annotated[Path | None, Parameter(help="folder to write; an unfinished one goes on", metavar="FOLDER")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)", metavar="FILE")] = None,
    show: Annotated[bool, Parameter(help="print every setting and where it comes from, and stop")] = False,
    json: Annotated[bool, Parameter(help="the result as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Turn text into a folder to train on.

    Text is read, cleaned, deduplicated and tokenized; a tokenizer is trained on it unless --tokenizer.path gives one.
    Plain text, JSON Lines, CSV, TSV, Parquet, HTML, Markdown and EPUB are read, each also as .gz, .bz2, .xz or .zst.

    Any setting is an option too, as --tokenizer.vocab-size 8000 or --corpus.plain line; --show lists them all.
    Stopped at any moment, the same command goes on.

    Example: maskling prepare books/ notes.jsonl.zst --out data/ --tokenizer.vocab-size 16000
    """
    from maskling.config import refuse_idle, resolve
    from maskling.data.settings import PrepareSettings
    from maskling.errors import SettingsError

    console = Console(as_json=json)
    resolved = resolve(PrepareSettings, layers(config, settings))
    if resolved.settings.tokenizer.path is not None:
        refuse_idle(resolved, TRAINING, "tokenizer.path gives a tokenizer as it is")
    if show:
        for line in shown(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        return
    if not sources or out is None:
        raise SettingsError("say what to read and where to write: maskling prepare books/ --out data/")
    check_sources(sources)
    check_out_folder(out)

    from maskling.cli.prepare_report import PrepareReport
    from maskling.data.prepare import prepare as prepare_shards

    report = PrepareReport(console, resolved.settings.tokenizer.vocab_size)
    for event in prepare_shards(sources, out, resolved.settings):
        report.show(event)
