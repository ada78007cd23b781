"""`maskling prepare`: from text to shards."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.settings import SettingPairs, layers, shown
from maskling.console import Console


def prepare(
    *sources: Annotated[str, Parameter(help="files, folders, globs, URLs, -, python-docs:, hf:NAME[:CONFIG[:SPLIT]]")],
    out: Annotated[Path | None, Parameter(help="folder to write; an unfinished one goes on")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)")] = None,
    show: Annotated[bool, Parameter(help="print every setting and where it comes from, and stop", negative="")] = False,
    json: Annotated[bool, Parameter(help="the result as JSON on stdout", negative="")] = False,
    settings: SettingPairs = (),
) -> None:
    """Turn text into clean, deduplicated, tokenized shards; trains a tokenizer if none is given.

    Reads plain text, JSON Lines, CSV, TSV, Parquet, HTML, Markdown and EPUB, each also as .gz, .bz2, .xz or .zst.
    Any setting is an option too, as --tokenizer.vocab-size 8000 or --corpus.plain line; --show lists them all.

    Example: maskling prepare books/ notes.jsonl.zst --out data/ --tokenizer.vocab-size 16000
    """
    from maskling.config import resolve
    from maskling.data.settings import PrepareSettings
    from maskling.errors import SettingsError

    console = Console(as_json=json)
    resolved = resolve(PrepareSettings, layers(config, settings))
    if show:
        for line in shown(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        return
    if not sources or out is None:
        raise SettingsError("say what to read and where to write: maskling prepare books/ --out data/")

    from maskling.cli.prepare_report import PrepareReport
    from maskling.data.prepare import prepare as prepare_shards

    report = PrepareReport(console)
    for event in prepare_shards(sources, out, resolved.settings):
        report.show(event)
