"""The events that `prepare` yields."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maskling.console import agreeing, counted
from maskling.corpus.filters import NOT_ALPHABETIC, TOO_SHORT
from maskling.data import mask_rates
from maskling.data.manifest import Manifest
from maskling.data.mask_rates import MaskRates
from maskling.data.shards import open_shards
from maskling.tokenizer.changes import ScriptChanges
from maskling.tokenizer.segmentation import CHINESE
from maskling.tokenizer.tokenizer import Tokenizer

MUCH_UNKNOWN = 0.005
MUCH_CHANGED = 0.003
MUCH_REJECTED = 1 / 3
_FEW = 10
SHOWN_BAD_FILES = 5
MUCH_UNSEGMENTED = 0.05  # of the bytes of the text; three bytes per character


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

    kind: of the settings; left_out: what the vocabulary leaves out of the text, one line per item; dotless_i: it
    lowercases I to ı, as in Turkish.
    """

    vocab_size: int
    path: str | None
    kind: str = "wordpiece"
    left_out: tuple[str, ...] = ()
    dotless_i: bool = False


@dataclass(frozen=True)
class NormalizationMeasured:
    """What a new tokenizer's normalizer changes in a sample of the text, by script."""

    changes: tuple[ScriptChanges, ...]

    def warnings(self) -> list[str]:
        """Return a line for every script of which more than a little is changed."""
        return changes_warnings(self.changes, given=False)


def changes_line(changes: Sequence[ScriptChanges]) -> str:
    """Return what normalization changes, case aside, in one line."""
    if not changes:
        return "not measured"
    parts = []
    for change in changes:
        kinds = {
            ("mark", "removed"): change.marks,
            ("letter", "removed"): change.letters,
            ("joiner", "removed"): change.joiners,
            ("letter", "replaced"): change.replaced,
        }
        found = ", ".join(f"{counted(count, what)} {how}" for (what, how), count in kinds.items() if count)
        if found:
            parts.append(f"{change.script} {change.share:.2%} ({found})")
    return "; ".join(parts) or "every letter and mark kept"


def changes_warnings(changes: Sequence[ScriptChanges], given: bool) -> list[str]:
    """Return a line for every script of which more than `MUCH_CHANGED` is changed. given: by an existing tokenizer."""
    remedy = (
        "this tokenizer is not made for such text; train one on it, or give one for its language with --tokenizer.path"
        if given
        else "in many scripts marks are vowels; set tokenizer.strip_accents to false and tokenizer.normalization to "
        "unicode to keep them"
    )
    return [
        f"the tokenizer's normalization removes or replaces {change.share:.1%} of the letters and marks of "
        f"{change.script} text: {remedy}"
        for change in changes
        if change.share > MUCH_CHANGED and change.changed >= _FEW
    ]


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

    @functools.cached_property
    def mask_rates(self) -> MaskRates | None:
        """The rates that maskings meet on this text, measured on first use; None if it is too short for an example."""
        shards = open_shards(self.folder)
        return mask_rates.measure(shards, Tokenizer.load(shards.tokenizer_folder, *self.manifest.word_rules))

    @property
    def _kind(self) -> str | None:
        made = self.manifest.made_from
        return made.settings["tokenizer"].get("kind") if made is not None else None

    def warnings(self) -> list[str]:
        """Return what a person should know before training on this data, one line per item."""
        given = self.manifest.made_from is not None and self.manifest.made_from.tokenizer is not None
        lines = changes_warnings(self.manifest.normalized, given)
        if self.unknown_share > MUCH_UNKNOWN:
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
        lines += self._unsegmented()
        lines += self.mask_rates.warnings if self.mask_rates is not None else []
        bad = self.manifest.text.bad_files
        lines += [f"{file.name}: {file.problem}" for file in bad[:SHOWN_BAD_FILES]]
        if self.manifest.text.num_bad_files > SHOWN_BAD_FILES:
            more = self.manifest.text.num_bad_files - SHOWN_BAD_FILES
            lines.append(f"{more:,} more {'file' if more == 1 else 'files'} had problems; manifest.json names them")
        short = {reason: self.manifest.text.rejected.get(reason, 0) for reason in (TOO_SHORT, NOT_ALPHABETIC)}
        if sum(short.values()) > MUCH_REJECTED * self.manifest.text.read:
            counts = " and ".join(
                f"{count:,} are {reason.replace('_', ' ')}" for reason, count in short.items() if count
            )
            lines.append(
                f"of {self.manifest.text.read:,} documents {counts}, and are left out; for messages, log lines, "
                f"molecules and sequences set corpus.filters.profile to 'lines', for code to 'code'"
            )
        if self.manifest.text.replaced_bytes:
            lines.append(
                f"{agreeing(self.manifest.text.replaced_bytes, 'bytes were not valid text and were replaced')}; "
                f"see corpus.encoding and corpus.errors"
            )
        lines += [f"{count:,} {note}" for note, count in self.manifest.text.notes.items()]
        if made is not None:
            lines += made.sources.left_out[:SHOWN_BAD_FILES]
        if made is not None and made.sources.skipped:
            skipped = ", ".join(f"{count:,} {suffix or 'without'}" for suffix, count in made.sources.skipped.items())
            lines.append(f"files skipped because no reader handles their suffix: {skipped}; name one to read it")
        return lines

    def _unsegmented(self) -> list[str]:
        """Return a line for each script without spaces whose words no dictionary found."""
        chinese, others = self.manifest.word_rules
        total = self.manifest.text.kept_bytes
        lines = []
        for script, note in self.manifest.scripts.items():
            bytes_ = 3 * note.characters
            if note.segmenter is not None or bytes_ < MUCH_UNSEGMENTED * total:
                continue
            if script == CHINESE:
                setting, words = f"tokenizer.chinese_words = '{chinese}'", "each character counts as a word"
            else:
                setting, words = f"tokenizer.words = '{others}'", "words end only at spaces and punctuation"
            lines.append(
                f"{bytes_ / max(1, total):.0%} of the text is {script}, and no dictionary found its words ({setting}): "
                f"for word, span and n-gram masks, {words}; to use a dictionary, run  pip install 'maskling[words]'  "
                f"and prepare the text into another folder"
            )
        return lines


PrepareEvent = (
    Resumed | Reading | TokenizerTraining | TokenizerTrained | NormalizationMeasured | ShardWritten | Prepared
)
