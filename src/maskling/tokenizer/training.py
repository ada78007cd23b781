"""Count words and train a vocabulary from the counts.

Counts of parts of a corpus add up, so parts can be counted anywhere, in any order. Equal counts give equal bytes on
any machine.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from unicodedata import category

import numpy as np
import tokenizers
from tokenizers import models

from maskling.arrays import Int64Array
from maskling.errors import TokenizerError
from maskling.tokenizer import loading, normalization, pipeline
from maskling.tokenizer.characters import looks_chinese
from maskling.tokenizer.library import (
    BERT_SPECIAL_TOKENS,
    MAX_WORD_CHARACTERS,
    ROLES,
    library_errors,
    replace_surrogates,
)
from maskling.tokenizer.lookup import ByteSplit, WordHashTable, split_bytes
from maskling.tokenizer.pre_split import (
    COMPOSING_MARKS,
    Splitter,
    bert_byte_split,
    split_at_spaces,
    split_before_spaces,
    split_bert,
    split_bert_chinese,
    split_unicode_chinese,
    unicode_byte_split,
)
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.train_bpe import byte_level, word_pieces
from maskling.tokenizer.train_unigram import unigram_pieces
from maskling.tokenizer.train_units import (
    character_tokens,
    choose_characters,
    count_characters,
    rare_letters,
    unit_tokens,
    word_tokens,
)

_ROLE_TOKENS: Final = [BERT_SPECIAL_TOKENS[role] for role in ROLES]  # ids 0 to 4: [PAD] [UNK] [CLS] [SEP] [MASK]
# The letter whose lower case depends on the language: ı in Turkish and Azeri.
_CAPITAL_I: Final = "I"
# What a tokenizer with dotless ı may lowercase otherwise, as it composes letters first: Σ at the end of a word depends
# on the mark before it, and i with a dot above is i.
_CASE_DEPENDS: Final = re.compile("[IΣ\u0307]")

# Share of the characters in words too long for WordPiece from which on they are cut.
_MUCH_LONG: Final = 0.001
_MAX_CHUNKS: Final = 1 << 18
# Characters of the first batch and of the largest. Each batch is twice as long as the one before, because all words of
# the first are new, and become strings.
_FIRST_BATCH: Final = 1 << 14
_MAX_BATCH: Final = 1 << 20
# A space between characters that no normalizer removes or makes a space.
_VISIBLE: Final = f"[^\\s\x00\x80-\x9f{normalization.ZERO_WIDTH_SPACE}{normalization.INVISIBLE}]"
_ONE_SPACE: Final = re.compile(f"(?<={_VISIBLE})[ \n](?={_VISIBLE})")


def train_vocabulary(counts: Mapping[str, int], settings: TokenizerSettings) -> Tokenizer:
    """Train a vocabulary on word counts from `count_words`.

    A corpus with fewer subwords than `vocab_size` gives a smaller vocabulary (see `Tokenizer.vocab_size`).
    Raises TokenizerError if there are no words, or no room for the characters.
    """
    if not counts:
        raise TokenizerError("there are no words to train a vocabulary on; give a corpus with text in it")
    counts, settings = decide_case(counts, settings)
    room = settings.vocab_size - len(_special_tokens(settings))
    if room < 1:
        raise TokenizerError(
            f"tokenizer.vocab_size = {settings.vocab_size} leaves no room for words beside "
            f"{len(_special_tokens(settings))} special tokens; raise it"
        )
    # Training visits the words in one order, whatever order the counts came in.
    words = Counter(dict(sorted((word, count) for word, count in counts.items() if count > 0)))
    library = _TRAINERS[settings.kind](words, room, settings)
    if settings.kind != "wordpiece":
        library.normalizer = pipeline.normalizer(settings)
        library.pre_tokenizer = pipeline.pre_tokenizer(settings)
        library.decoder = pipeline.decoder(settings.kind, settings.spaces == "keep")
    # Only byte-level BPE has tokens for the space before a word, which training masks with the word.
    byte_level = settings.kind == "bpe"
    library = loading.with_special_tokens(library, BERT_SPECIAL_TOKENS, settings.special_tokens, byte_level)
    return Tokenizer(library, BERT_SPECIAL_TOKENS, chinese_words=settings.chinese_words, words=settings.words)


def count_words(texts: Iterable[str], settings: TokenizerSettings) -> Counter[str]:
    """Count the words of texts, normalized and split as the tokenizer will do it.

    If the settings leave the lower case of I to the text, words with I are counted as they are written, and
    `train_vocabulary` decides. The sum of the counts of two corpora is the count of both. Memory grows with the number
    of distinct words only.
    """
    counter = _WordCounter(settings)
    if settings.special_tokens:
        texts = _between(texts, settings.special_tokens)
    for batch in _batches(texts):
        counter.add(batch)
    return counter.words()


def _special_tokens(settings: TokenizerSettings) -> list[str]:
    return [*_ROLE_TOKENS, *settings.special_tokens]


def _is_undecided(settings: TokenizerSettings) -> bool:
    """Return whether the lower case of I depends on the counted words."""
    return settings.dotless_i is None and settings.may_fold_dotless


def decide_case(counts: Mapping[str, int], settings: TokenizerSettings) -> tuple[Mapping[str, int], TokenizerSettings]:
    """Return word counts and settings with the lower case of I decided by the counts, if the settings leave it open."""
    if not _is_undecided(settings):
        return counts, settings
    dotless = normalization.looks_dotless(counts, settings.kind)
    settings = settings.model_copy(update={"dotless_i": dotless})
    return _with_lower_i(counts, settings), settings


def _with_lower_i(counts: Mapping[str, int], settings: TokenizerSettings) -> Counter[str]:
    """Return counts of words, with those that were counted as written lowercased and split. settings: decided."""
    counter = _WordCounter(settings)
    as_written = {word: count for word, count in counts.items() if _CASE_DEPENDS.search(word)}
    return counter.split(as_written) + Counter({w: count for w, count in counts.items() if w not in as_written})


def _between(texts: Iterable[str], special_tokens: Sequence[str]) -> Iterator[str]:
    """Yield the texts between special tokens, as the tokenizer will cut them: the longest token at each position."""
    longest_first = sorted(special_tokens, key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    for text in texts:
        yield from filter(None, pattern.split(text))


def long_word_share(words: Mapping[str, int]) -> float:
    """Return the share of the characters that are in words too long for WordPiece."""
    total = sum(len(word) * count for word, count in words.items())
    long = sum(len(word) * count for word, count in words.items() if len(word) > MAX_WORD_CHARACTERS)
    return long / max(1, total)


def _cut_words(words: Counter[str], pre_tokenizer: Any) -> Counter[str]:
    """Return the counts with each long word cut as the tokenizer will cut it, sorted."""
    cut: Counter[str] = Counter()
    for word, count in words.items():
        parts = [word]
        if len(word) > MAX_WORD_CHARACTERS:
            parts = [part for part, _ in pre_tokenizer.pre_tokenize_str(word)]
        for part in parts:
            cut[part] += count
    return Counter(dict(sorted(cut.items())))


def _wordpiece(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    # English and Chinese have next to no long words; and BERT's own tokenizer cuts nothing.
    cuts = settings.normalization == "unicode" and long_word_share(words) > _MUCH_LONG
    pre_tokenizer = pipeline.pre_tokenizer(settings, cuts)
    may_start: set[str] = set()
    if cuts:
        may_start = {c for word in words if len(word) > MAX_WORD_CHARACTERS for c in word if category(c)[0] != "M"}
        words = _cut_words(words, pre_tokenizer)
    learned = word_pieces(
        words, room, settings.min_count, settings.max_alphabet, settings.split_digits, may_start=may_start
    )
    vocabulary = _numbered(learned, settings)
    library = loading.wordpiece(vocabulary, BERT_SPECIAL_TOKENS, pipeline.normalizer(settings))
    library.pre_tokenizer = pre_tokenizer
    return library


def _bpe(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    learned, merges = byte_level(words, room, settings.min_count)
    return tokenizers.Tokenizer(models.BPE(vocab=_numbered(learned, settings), merges=merges))


def _unigram(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    max_characters = max(1, int(room * settings.max_alphabet))
    chosen, rare = choose_characters(count_characters(words), max_characters, settings.min_count)
    scored = unigram_pieces(words, set(chosen or rare), room - (len(rare) if chosen else 0))
    if chosen:
        rare += rare_letters(count_characters(words), [*chosen, *rare], room - len(scored) - len(rare))
        # Spelled only where nothing else fits, so their scores do not matter much: the lowest.
        scored += [(character, min(score for _, score in scored)) for character in rare]
    # A special token is matched before the model runs, so its score is never used.
    vocabulary = [*((token, 0.0) for token in _special_tokens(settings)), *scored]
    return tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=ROLES.index("unk"), byte_fallback=False))


def _characters(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    return _word_level(character_tokens(words, room, settings.min_count), settings)


def _words(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    return _word_level(word_tokens(words, room, settings.min_count), settings)


def _word_level(tokens: Sequence[str], settings: TokenizerSettings) -> tokenizers.Tokenizer:
    return tokenizers.Tokenizer(models.WordLevel(_numbered(tokens, settings), unk_token=BERT_SPECIAL_TOKENS["unk"]))


def _units(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    vocabulary = _numbered(unit_tokens(words, room, settings.min_count, settings.max_alphabet), settings)
    unk = BERT_SPECIAL_TOKENS["unk"]
    return tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token=unk, ignore_merges=True))


def _numbered(tokens: Sequence[str], settings: TokenizerSettings) -> dict[str, int]:
    special = _special_tokens(settings)
    return {token: id_ for id_, token in enumerate([*special, *(token for token in tokens if token not in special)])}


_TRAINERS: Final[dict[str, Any]] = {
    "wordpiece": _wordpiece,
    "bpe": _bpe,
    "unigram": _unigram,
    "characters": _characters,
    "words": _words,
    "regex": _units,
    "kmer": _units,
}


class _WordCounter:
    """Counts chunks of text, and normalizes and splits each distinct chunk into words once.

    A chunk with I stays as it is while its lower case is undecided, as does one with Σ or a dot above.

    For WordPiece, chunks are found as bytes (`WordHashTable`), without making a string of each; Chinese text, and text
    that cannot be split as bytes, is counted as strings.
    """

    def __init__(self, settings: TokenizerSettings) -> None:
        self._normalizer, self._pre_tokenizer = pipeline.normalizer(settings), pipeline.pre_tokenizer(settings)
        self._split = _split(settings)
        self._undecided = _is_undecided(settings)
        self._byte_split = _byte_split(settings)
        self._lowercase, self._dotless = settings.lowercase, bool(settings.dotless_i)
        self._joins_marks = self._byte_split is not None and settings.normalization == "unicode"
        self._split_digits = settings.split_digits
        self._words: Counter[str] = Counter()
        self._chunks: Counter[str] = Counter()
        self._reset_hash()

    def _reset_hash(self) -> None:
        self._hash = WordHashTable()
        self._hashed: dict[str, int] = {}  # chunk -> its index
        self._hashed_counts: Int64Array = np.zeros(0, np.int64)

    def add(self, texts: Sequence[str]) -> None:
        """Count the words of texts."""
        as_strings = texts
        if self._byte_split is not None:
            as_strings = [text for text in texts if self._needs_strings(text)]
            as_bytes = [text for text in texts if not self._needs_strings(text)] if as_strings else texts
            spans = split_bytes(as_bytes, self._byte_split)
            if spans is None:
                as_strings = texts
            else:
                indices = self._hash.indices(spans, self._index_new)
                counts: Int64Array = np.bincount(indices, minlength=len(self._hashed))
                counts[: len(self._hashed_counts)] += self._hashed_counts
                self._hashed_counts = counts
        for text in as_strings:
            self._chunks.update(self._split(text))
        if len(self._chunks) + len(self._hashed) > _MAX_CHUNKS:
            self._flush()

    def words(self) -> Counter[str]:
        """Return the counts of all words."""
        self._flush()
        return self._words

    def split(self, chunks: Mapping[str, int]) -> Counter[str]:
        """Return the counts of the words of chunks."""
        self._chunks.update(chunks)
        return self.words()

    def _needs_strings(self, text: str) -> bool:
        """Return whether a text is not to be split as bytes: Chinese, or with marks that NFC joins across a split."""
        if text.isascii():
            return False
        return looks_chinese(text) or (self._joins_marks and any(mark in text for mark in COMPOSING_MARKS))

    def _index_new(self, chunks: list[str]) -> Int64Array:
        hashed = self._hashed
        return np.array([hashed.setdefault(chunk, len(hashed)) for chunk in chunks], np.int64)

    def _flush(self) -> None:
        """Convert the counted chunks to words, and clear them."""
        words = self._words
        chunks = (*self._chunks.items(), *zip(self._hashed, self._hashed_counts.tolist(), strict=True))
        with library_errors("the tokenizer failed on a text"):
            for chunk, count in chunks:
                if self._undecided and _CASE_DEPENDS.search(chunk):
                    words[replace_surrogates(chunk)] += count
                    continue
                if self._is_word(chunk):
                    words[chunk.lower() if self._lowercase else chunk] += count
                    continue
                normal = self._normalizer.normalize_str(replace_surrogates(chunk))
                for word, _ in self._pre_tokenizer.pre_tokenize_str(normal):
                    words[word] += count
        self._chunks.clear()
        self._reset_hash()

    def _is_word(self, chunk: str) -> bool:
        """Return whether a WordPiece chunk is one word, of which the normalizer changes nothing but case."""
        if self._byte_split is None or not chunk.isascii() or not chunk.isalnum():
            return False
        if self._split_digits and not chunk.isalpha() and len(chunk) > 1:
            return False
        return not self._dotless or _CAPITAL_I not in chunk


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield texts in batches of bounded size; a long text is cut between words."""
    batch: list[str] = []
    size, max_size = 0, _FIRST_BATCH
    for text in texts:
        start = 0
        while start < len(text):
            end = _safe_cut(text, start + max_size - size)
            batch.append(text[start:end])
            size += end - start
            start = end
            if size >= max_size:
                yield batch
                batch, size, max_size = [], 0, min(2 * max_size, _MAX_BATCH)
    if batch:
        yield batch


def _safe_cut(text: str, position: int) -> int:
    """Return the first position, from `position` on, where both parts of a text have the words of the whole."""
    if position >= len(text):
        return len(text)
    found = _ONE_SPACE.search(text, position)
    return found.start() if found else len(text)


def _byte_split(settings: TokenizerSettings) -> ByteSplit | None:
    if settings.kind != "wordpiece":
        return None
    if settings.normalization == "bert":
        return bert_byte_split(settings.lowercase)
    dotless = None if _is_undecided(settings) else bool(settings.dotless_i)
    return unicode_byte_split(settings.lowercase, dotless, settings.split_digits)


def _split(settings: TokenizerSettings) -> Splitter:
    if settings.kind == "wordpiece":
        if settings.normalization == "bert":
            return split_bert_chinese if settings.split_chinese else split_bert
        return split_unicode_chinese if settings.split_chinese else str.split
    if settings.spaces == "keep" or settings.kind in ("characters", *pipeline.UNIT_KINDS):
        return split_before_spaces
    return _split_keeping_space if settings.kind == "bpe" else split_at_spaces


def _split_keeping_space(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
