"""What a person sees of a preparation."""

from __future__ import annotations

import math

from maskling.cli.layout import byte_size, size
from maskling.console import Console, counted
from maskling.data.preparation.events import (
    Prepared,
    PrepareEvent,
    Reading,
    Resumed,
    ShardWritten,
    TokenizerTrained,
    TokenizerTraining,
)


class PrepareReport:
    """Shows the events of a preparation."""

    def __init__(self, console: Console, asked: int) -> None:
        """asked: the size of a vocabulary that is to be trained."""
        self._console = console
        self._asked = asked

    def show(self, event: PrepareEvent) -> None:
        """Print what an event has to say."""
        console = self._console
        match event:
            case Resumed():
                parts, shards = counted(event.parts, "part"), counted(event.shards, "shard")
                console.note(f"going on: {parts} of text and {shards} are there already")
            case Reading():
                text = f"read {counted(event.documents, 'document')}, {byte_size(event.text_bytes)} of text"
                console.progress(text, event.read_bytes, event.total_bytes)
            case TokenizerTraining():
                console.clear()
                console.note(f"training a vocabulary on {event.words:,} different words")
            case TokenizerTrained():
                where = "trained" if event.path is None else f"taken from {event.path}"
                less = event.path is None and event.vocab_size < self._asked
                why = f", not the {self._asked:,} asked for: the text gives no more" if less else ""
                console.note(f"tokenizer {where}: {event.vocab_size:,} tokens{why}")
            case ShardWritten():
                text = f"tokenized {event.parts:,} of {counted(event.num_parts, 'part')}, {size(event.tokens)} tokens"
                console.progress(text, event.parts, event.num_parts)
            case Prepared():
                console.clear()
                self._prepared(event)

    def _prepared(self, event: Prepared) -> None:
        console, text = self._console, event.manifest.text
        left_out = ", ".join(f"{reason.replace('_', ' ')} {count:,}" for reason, count in text.rejected.items())
        for line in event.warnings():
            console.warn(line)
        entropy = event.manifest.unigram_entropy
        lines = [
            f"{event.folder} was prepared before and is complete" if event.already else f"{event.folder} is ready",
            f"  documents   {text.kept:,} of {text.read:,}" + (f" (left out: {left_out})" if left_out else ""),
            f"  train       {event.train_tokens:,} tokens in {counted(event.train_documents, 'document')}",
            f"  validation  {event.validation_tokens:,} tokens in {counted(event.validation_documents, 'document')}",
            f"  tokenizer   {event.manifest.vocab_size:,} tokens, {event.bytes_per_token:.2f} bytes a token, "
            f"{100 * event.unknown_share:.2f}% unknown",
            f"  entropy     {entropy:.2f} nats a token, perplexity {math.exp(entropy):,.0f}, "
            f"for a model that knows only how often tokens occur",
        ]
        for line in lines:
            console.result(line)
        console.data(
            {
                "folder": str(event.folder),
                "already": event.already,
                "documents": text.kept,
                "rejected": dict(text.rejected),
                "train_tokens": event.train_tokens,
                "validation_tokens": event.validation_tokens,
                "vocab_size": event.manifest.vocab_size,
                "bytes_per_token": event.bytes_per_token,
                "unknown_share": event.unknown_share,
                "unigram_entropy": entropy,
                "warnings": event.warnings(),
            }
        )
