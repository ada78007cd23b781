"""The events that `prepare` yields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from maskling.data.manifest import Manifest

MUCH_UNKNOWN = 0.005
SHOWN_BAD_FILES = 5


@dataclass(frozen=True)
class Resumed:
    """A stopped run resumes with what it finished. parts: parts of clean text; shards: parts already tokenized."""

    parts: int
    shards: int


@dataclass(frozen=True)
class Reading:
    """Progress of reading and cleaning.

    documents, text_bytes: kept so far, in UTF-8; read_bytes: read from the sources as stored, compressed or not, out
    of total_bytes (None if a size is not known). Reading is some megabytes ahead of what is kept.
    """

    documents: int
    text_bytes: int
    read_bytes: int
    total_bytes: int | None


@dataclass(frozen=True)
class TokenizerTraining:
    """Training of a vocabulary starts. words: number of different words."""

    words: int


@dataclass(frozen=True)
class TokenizerTrained:
    """The tokenizer is ready: trained, or loaded from `path`.

    kind: of the settings; left_out: what the vocabulary leaves out of the text, one line per item.
    """

    vocab_size: int
    path: str | None
    kind: str = "wordpiece"
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class ShardWritten:
    """One part of the text was tokenized. tokens: of all parts so far, both splits."""

    parts: int
    num_parts: int
    tokens: int


@dataclass(frozen=True)
class Prepared:
    """The folder is complete. already: it was complete before, and nothing was done."""

    folder: Path
    manifest: Manifest
    already: bool

    @property
    def train_tokens(self) -> int:
        """Tokens of the train split."""
        return sum(shard.tokens for shard in self.manifest.splits.train)

    @property
    def validation_tokens(self) -> int:
        """Tokens held out."""
        return sum(shard.tokens for shard in self.manifest.splits.validation)

    @property
    def train_documents(self) -> int:
        """Documents of the train split."""
        return sum(shard.documents for shard in self.manifest.splits.train)

    @property
    def validation_documents(self) -> int:
        """Documents held out."""
        return sum(shard.documents for shard in self.manifest.splits.validation)

    @property
    def bytes_per_token(self) -> float:
        """Bytes of clean text (UTF-8) per token."""
        return self.manifest.text.kept_bytes / max(1, self.train_tokens + self.validation_tokens)

    @property
    def unknown_share(self) -> float:
        """Fraction of unknown tokens in the train split."""
        return self.manifest.unknown_tokens / max(1, self.train_tokens)

    @property
    def _kind(self) -> str | None:
        made = self.manifest.made_from
        return made.settings["tokenizer"].get("kind") if made is not None else None

    def warnings(self) -> list[str]:
        """Return what a person should know before training on this data, one line per item."""
        lines = []
        if self.unknown_share > MUCH_UNKNOWN:
            given = self.manifest.made_from is not None and self.manifest.made_from.tokenizer is not None
            lines.append(
                f"{self.unknown_share:.1%} of the tokens are unknown: "
                + (
                    "the tokenizer does not fit this text; train one on it, or give one for its language with "
                    "--tokenizer.path"
                    if given
                    else "rare words are not in the vocabulary; raise tokenizer.vocab_size or lower "
                    "tokenizer.min_count, or use the kind wordpiece or bpe, which split rare words"
                    if self._kind == "words"
                    else "the vocabulary has no room for every character, or the text is very short; "
                    "raise tokenizer.vocab_size or tokenizer.max_alphabet, or use the kind bpe, which covers all"
                )
            )
        made = self.manifest.made_from
        if not self.validation_documents:
            wanted = made is None or made.settings["shards"]["validation_fraction"] > 0
            lines.append(
                "no document is held out, so there is nothing to evaluate on: "
                + (
                    "the corpus has only one document; see corpus.plain for other ways to split a text"
                    if wanted
                    else "set shards.validation_fraction above 0"
                )
            )
        bad = self.manifest.text.bad_files
        lines += [f"{file.name}: {file.problem}" for file in bad[:SHOWN_BAD_FILES]]
        if self.manifest.text.num_bad_files > SHOWN_BAD_FILES:
            more = self.manifest.text.num_bad_files - SHOWN_BAD_FILES
            lines.append(f"{more:,} more files had problems; manifest.json names them")
        if self.manifest.text.replaced_bytes:
            lines.append(
                f"{self.manifest.text.replaced_bytes:,} bytes were not valid text and were replaced; "
                f"see corpus.encoding and corpus.errors"
            )
        if made is not None and made.sources.skipped:
            skipped = ", ".join(f"{count:,} {suffix or 'without'}" for suffix, count in made.sources.skipped.items())
            lines.append(f"files skipped because no reader handles their suffix: {skipped}; name one to read it")
        return lines


PrepareEvent = Resumed | Reading | TokenizerTraining | TokenizerTrained | ShardWritten | Prepared
