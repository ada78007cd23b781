"""What a trained vocabulary leaves out of its training text: characters without a token, words that are too long."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from maskling.tokenizer import normalization, pipeline
from maskling.tokenizer.changes import script_of
from maskling.tokenizer.library import MAX_WORD_CHARACTERS
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer

_MUCH_UNKNOWN: Final = 0.001
_SHOWN_SCRIPTS: Final = 4
_SHOWN_CHARACTERS: Final = 6


@dataclass(frozen=True)
class Coverage:
    """Counts over the words that a vocabulary was trained on.

    characters: all characters of these words; long: those in words too long for WordPiece; cuts: whether such words
    are cut, and not unknown; missing: characters that are not in the vocabulary (in the position where they occur),
    with their counts; lost: characters of the words that are unknown because of them; needed: tokens that a vocabulary
    with all characters of `min_count` would have at least; full: whether the vocabulary has the size that was asked
    for.
    """

    characters: int
    long: int = 0
    cuts: bool = False
    missing: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    needed: int = 0
    full: bool = True

    def lines(self) -> list[str]:
        """Return what a person should know of it, one line per item."""
        lines = []
        if self.cuts:
            lines.append(
                f"{self.long / self.characters:.1%} of the characters are in words longer than {MAX_WORD_CHARACTERS} "
                f"characters, which WordPiece cannot read: they are cut after every {MAX_WORD_CHARACTERS} characters; "
                f"tokenizer.kind bpe, unigram, characters and kmer need no cuts"
            )
        elif self.long:
            lines.append(
                f"{self.long:,} characters ({self.long / self.characters:.2%}) are in words longer than "
                f"{MAX_WORD_CHARACTERS} characters, which WordPiece makes [UNK]"
            )
        if self.lost > _MUCH_UNKNOWN * self.characters:
            lines.append(
                f"{self.lost / self.characters:.1%} of the characters become [UNK], because {len(self.missing):,} "
                f"characters are not in the vocabulary: {self._scripts()}; {self._advice()}, or use tokenizer.kind "
                f"bpe, which covers every character"
            )
        return lines

    def _advice(self) -> str:
        if self.full:
            return f"raise tokenizer.vocab_size to {self.needed:,} or more"
        return "lower tokenizer.min_count to 1, because they are rare"

    def _scripts(self) -> str:
        scripts: dict[str, Counter[str]] = {}
        for character, count in self.missing.items():
            scripts.setdefault(_kind(character), Counter())[character] += count
        ordered = sorted(scripts.items(), key=lambda item: (-item[1].total(), item[0]))
        shown = []
        for name, counts in ordered[:_SHOWN_SCRIPTS]:
            examples = sorted(counts, key=lambda c: (-counts[c], c))[:_SHOWN_CHARACTERS]
            more = " ..." if len(counts) > len(examples) else ""
            shown.append(f"{name} {counts.total() / self.characters:.2%} ({' '.join(map(_visible, examples))}{more})")
        return ", ".join(shown) + (" and others" if len(ordered) > _SHOWN_SCRIPTS else "")


def _visible(character: str) -> str:
    return character if unicodedata.category(character)[0] in "LNPS" else f"U+{ord(character):04X}"


def _kind(character: str) -> str:
    """Return the script of a letter or mark, and what any other character is called."""
    return (script_of(character) if unicodedata.category(character)[0] in "LM" else "") or "marks and symbols"


def coverage(words: Mapping[str, int], tokenizer: Tokenizer, settings: TokenizerSettings) -> Coverage:
    """Return what the vocabulary leaves out. words: the counts that `tokenizer` was trained on with `settings`."""
    total = sum(len(word) * count for word, count in words.items())
    if settings.kind in ("bpe", "words") or not total:
        return Coverage(total)  # byte-level BPE covers everything; words say [UNK] for whole words, on purpose
    first = {token for token in map(tokenizer.token, tokenizer.ordinary_ids.tolist()) if len(token) == 1}
    later = first
    wordpiece = settings.kind == "wordpiece"
    if wordpiece:
        tokens = map(tokenizer.token, tokenizer.ordinary_ids.tolist())
        later = {token[2:] for token in tokens if len(token) == 3 and token.startswith("##")}
    cuts = wordpiece and tokenizer.tokenizer_json["pre_tokenizer"] == normalization.as_json(
        pipeline.pre_tokenizer(settings, cut_words=True)
    )
    missing: Counter[str] = Counter()
    forms: Counter[tuple[bool, str]] = Counter()
    long = lost = 0
    for word, count in words.items():
        if wordpiece and len(word) > MAX_WORD_CHARACTERS:
            long += len(word) * count
            if not cuts:
                continue
        absent = [c for index, c in enumerate(word) if c not in (later if index else first)]
        if not absent:
            continue
        # WordPiece makes the whole word unknown.
        lost += count * (min(len(word), MAX_WORD_CHARACTERS) if wordpiece else len(absent))
        for character in absent:
            missing[character] += count
        forms.update({(word[0] == character, character): count for character in absent})
    full = tokenizer.vocab_size >= settings.vocab_size
    rare = sum(count < settings.min_count for count in forms.values())
    needed = int((len(first) + (len(later) if wordpiece else 0) + len(forms) - rare) / settings.max_alphabet) + 6
    return Coverage(total, long, cuts, missing, lost, max(needed, tokenizer.vocab_size + 1), full)
