"""`maskling prepare`: text to tokenized shards, and the view of its events."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.format import byte_size, size, unknown_templates
from maskling.cli.inputs import SOURCES, check_out_folder, check_sources
from maskling.cli.options import SettingPairs, setting_layers, setting_lines
from maskling.console import Console, counted

if TYPE_CHECKING:
    from maskling.data.prepare.events import Prepared, PrepareEvent


def prepare(
    *sources: Annotated[str, Parameter(help=SOURCES)],
    out: Annotated[Path | None, Parameter(help="folder to write; resumed if unfinished", metavar="FOLDER")] = None,
    config: Annotated[Path | None, Parameter(help="settings file (TOML)", metavar="FILE")] = None,
    show: Annotated[bool, Parameter(help="print every setting and its origin, and exit")] = False,
    json: Annotated[bool, Parameter(help="print the result as JSON on stdout")] = False,
    settings: SettingPairs = (),
) -> None:
    """Prepare text for training.

    Reads, cleans, deduplicates and tokenizes text, and trains a tokenizer on it unless --tokenizer.path gives one.
    Reads plain text, JSON Lines, CSV, TSV, Parquet, HTML, Markdown, EPUB and Wikipedia dumps, also compressed as .gz,
    .bz2, .xz or .zst.

    Every setting is an option too, such as --tokenizer.vocab-size 8000 or --corpus.plain line; --show lists them all.
    It can be stopped at any time; the same command resumes.

    Example: maskling prepare books/ notes.jsonl.zst --out data/ --tokenizer.vocab-size 16000
    """
    from maskling.data.prepare.settings import read_prepare_settings
    from maskling.errors import SettingsError

    console = Console(as_json=json)
    resolved = read_prepare_settings(setting_layers(config, settings))
    if show:
        for line in setting_lines(resolved):
            console.result(line)
        console.data(resolved.settings.model_dump(mode="json"))
        return
    if not sources or out is None:
        raise SettingsError("give text to read and a folder to write: maskling prepare books/ --out data/")
    check_sources(sources)
    check_out_folder(out)

    from maskling.data.prepare.prepare import prepare as prepare_shards

    report = PrepareReport(console, resolved.settings.tokenizer.vocab_size)
    for event in prepare_shards(sources, out, resolved.settings):
        report.show(event)


class PrepareReport:
    """View of the events of a preparation. vocab_size: of a tokenizer to be trained, as set."""

    def __init__(self, console: Console, vocab_size: int) -> None:
        self._console = console
        self._vocab_size = vocab_size

    def show(self, event: PrepareEvent) -> None:
        """Print an event."""
        from maskling.data.prepare import events

        console = self._console
        match event:
            case events.Resumed():
                parts, shards = counted(event.parts, "part"), counted(event.shards, "shard")
                console.note(f"resuming: {parts} of text and {shards} are done already")
            case events.Reading():
                text = f"read {counted(event.documents, 'document')}, {byte_size(event.text_bytes)} of text"
                console.progress(text, event.read_bytes, event.total_bytes)
            case events.TokenizerTraining():
                console.clear()
                console.note(f"training a vocabulary on {event.words:,} different words")
            case events.TokenizerTrained():
                where = "trained" if event.path is None else f"taken from {event.path}"
                less = event.path is None and event.vocab_size < self._vocab_size
                why = f", not the {self._vocab_size:,} of the settings, because the text gives no more" if less else ""
                console.note(f"tokenizer {where}: {event.vocab_size:,} tokens{why}")
                if event.dotless_i:
                    console.note(
                        "lowercase as in Turkish and Azeri, I to ı: tokenizer.dotless_i = false if that is wrong"
                    )
                for line in event.left_out:
                    console.warn(line)
            case events.NormalizationMeasured():
                for line in event.warnings():
                    console.warn(line)
                console.note(f"normalization, case aside: {events.changes_line(event.changes)}")
            case events.ShardWritten():
                text = f"tokenized {event.parts:,} of {counted(event.num_parts, 'part')}, {size(event.tokens)} tokens"
                console.progress(text, event.parts, event.num_parts)
            case events.Prepared():
                console.clear()
                self._prepared(event)

    def _prepared(self, event: Prepared) -> None:
        from maskling.data.prepare.events import changes_line

        console, text = self._console, event.manifest.text
        left_out = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in text.rejected.items())
        rates, warnings = event.mask_rates, event.warnings()
        for line in warnings:
            console.warn(line)
        entropy = event.manifest.unigram_entropy
        lines = [
            f"{event.folder} was prepared before and is complete" if event.already else f"{event.folder} is ready",
            f"  documents   {text.kept:,} of {text.read:,}" + (f" (left out: {left_out})" if left_out else ""),
            *_changes(event),
            f"  train       {event.train_tokens:,} tokens in {counted(event.train_documents, 'document')}",
            f"  validation  {event.validation_tokens:,} tokens in {counted(event.validation_documents, 'document')}",
            f"  tokenizer   {event.manifest.vocab_size:,} tokens, {event.bytes_per_token:.2f} bytes per token, "
            f"{100 * event.unknown_share:.2f}% unknown",
            f"  normalized  {changes_line(event.manifest.normalized)}",
            f"  entropy     {entropy:.2f} nats per token, perplexity {math.exp(entropy):,.0f}, "
            f"for a model of token frequencies only",
            *([f"  mask rate   {rates.line}"] if rates is not None else []),
        ]
        for line in lines:
            console.result(line)
        console.data(
            {
                "folder": str(event.folder),
                "already": event.already,
                "documents": text.kept,
                "rejected": dict(text.rejected),
                "encodings": dict(text.encodings),
                "changes": dict(text.changes),
                "unknown_templates": dict(text.templates),
                "train_tokens": event.train_tokens,
                "validation_tokens": event.validation_tokens,
                "vocab_size": event.manifest.vocab_size,
                "bytes_per_token": event.bytes_per_token,
                "unknown_share": event.unknown_share,
                "normalized": [asdict(change) for change in event.manifest.normalized],
                "unigram_entropy": entropy,
                "mask_rates": {} if rates is None else {kind: rate.met for kind, rate in rates.of_kind.items()},
                "warnings": warnings,
            }
        )


def _changes(event: Prepared) -> list[str]:
    """Return lines about the filters that were chosen, encodings that were recognized and what cleaning changed."""
    text, made = event.manifest.text, event.manifest.made_from
    profile = made.settings["corpus"]["filters"].get("profile", "prose") if made is not None else "prose"
    lines = [] if profile == "prose" else [f"  filters     {profile} (corpus.filters.profile)"]
    if text.encodings:
        files = ", ".join(f"{counted(count, 'file')} read as {name}" for name, count in text.encodings.items())
        lines.append(f"  encodings   {files}; the others declare theirs or are UTF-8")
    lines += [f"  changed     {count:,} {kind}" for kind, count in text.changes.items()]
    if text.num_templates:
        lines.append(f"  templates   {unknown_templates(text.templates, text.num_templates)}")
    return lines
