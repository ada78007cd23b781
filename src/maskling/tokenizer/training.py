"""Training a vocabulary from word counts: the same counts give the same bytes, on any machine, in any order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import models

from maskling.errors import TokenizerError
from maskling.tokenizer import loading, pipeline
from maskling.tokenizer.characters import looks_chinese
from maskling.tokenizer.library import BERT_NAMES, ROLES, guarded, mended
from maskling.tokenizer.lookup import PackedWords, cut
from maskling.tokenizer.pre_split import Cut, cut_bert, cut_bert_chinese, cut_words, packed_bert
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.train_bpe import alphabet, byte_level, word_pieces
from maskling.tokenizer.train_unigram import unigram_pieces

# FOLDED DOCS
# [counting] Counting words for training: counts add up, so parts of a corpus can be counted anywhere, in any order.


__all__ = ["count_words", "train_vocabulary"]

SPECIALS: Final = [BERT_NAMES[role] for role in ROLES]  # ids 0 to 4: [PAD] [UNK] [CLS] [SEP] [MASK]


def train_vocabulary(counts: Mapping[str, int], settings: TokenizerSettings) -> Tokenizer:
    """Train the vocabulary that `settings` describe on the words of `count_words`.

    A corpus with fewer pieces than `vocab_size` gives a smaller vocabulary (see `Tokenizer.vocab_size`).
    Raises TokenizerError if there are no words, or no room for the characters.
    """
    if not counts:
        raise TokenizerError("there are no words to train a vocabulary on; give a corpus with text in it")
    room = settings.vocab_size - len(SPECIALS)
    # Whatever order the counts came in, training sees the words in one order.
    words = Counter(dict(sorted((word, count) for word, count in counts.items() if count > 0)))
    library = _TRAINERS[settings.kind](words, room, settings)
    if settings.kind != "wordpiece":
        library.normalizer = pipeline.normalizer(settings)
        library.pre_tokenizer = pipeline.pre_tokenizer(settings.kind)
        library.decoder = pipeline.decoder(settings.kind)
    library = loading.with_specials(library, BERT_NAMES)
    return Tokenizer(library, BERT_NAMES, chinese_words=settings.chinese_words)


def _wordpiece(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    learned = word_pieces(words, room, settings.min_count, settings.max_alphabet)
    vocabulary = {piece: id_ for id_, piece in enumerate([*SPECIALS, *(p for p in learned if p not in SPECIALS)])}
    return loading.wordpiece(vocabulary, BERT_NAMES, pipeline.normalizer(settings))


def _bpe(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    learned, merges = byte_level(words, room, settings.min_count)
    vocabulary = {piece: id_ for id_, piece in enumerate([*SPECIALS, *learned])}
    return tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))


def _unigram(words: Counter[str], room: int, settings: TokenizerSettings) -> tokenizers.Tokenizer:
    kept = alphabet(words, int(room * settings.max_alphabet), settings.min_count)
    scored = unigram_pieces(words, kept, room)
    # A special token is matched before the model runs, so its score is never used.
    vocabulary = [*((special, 0.0) for special in SPECIALS), *scored]
    return tokenizers.Tokenizer(models.Unigram(vocabulary, unk_id=ROLES.index("unk"), byte_fallback=False))


_TRAINERS: Final[dict[str, Any]] = {"wordpiece": _wordpiece, "bpe": _bpe, "unigram": _unigram}


_MOST_CHUNKS: Final = 1 << 18
# Characters of the first batch and of the largest: each is twice as long as the one before, because all words of the
# first are new, and become strings.
_FIRST_BATCH: Final = 1 << 14
_LONGEST_BATCH: Final = 1 << 20
_ONE_SPACE: Final = re.compile(r"(?<=\S)[ \n](?=\S)")


def count_words(texts: Iterable[str], settings: TokenizerSettings) -> Counter[str]:
    """How often each word occurs, as the vocabulary will see it: normalized, cut at white space and punctuation.

    The sum of the counts of two corpora is the count of both. Memory grows with the distinct words only.
    """
    counting = _Counting(settings)
    for batch in _batches(texts):
        counting.add(batch)
    return counting.words()


class _Counting:
    """Counts chunks of text, and makes words of each chunk once.

    BERT's are counted as numbers, without making a string of each; Chinese, and what has no place there, as strings.
    """

    def __init__(self, settings: TokenizerSettings) -> None:
        self._normalizer, self._pre_tokenizer = pipeline.normalizer(settings), pipeline.pre_tokenizer(settings.kind)
        self._cut = _cut(settings)
        self._packed = packed_bert(settings.lowercase) if settings.kind == "wordpiece" else None
        self._words: Counter[str] = Counter()
        self._chunks: Counter[str] = Counter()
        self._begin()

    def _begin(self) -> None:
        self._known = PackedWords()
        self._places: dict[str, int] = {}
        self._times = np.zeros(0, np.int64)

    def add(self, texts: Sequence[str]) -> None:
        """Count the words of texts."""
        others = texts
        if self._packed is not None:
            others = [text for text in texts if looks_chinese(text)]
            together = [text for text in texts if not looks_chinese(text)] if others else texts
            found = cut(together, self._packed)
            if found is None:
                others = texts
            else:
                places = self._known.places(found, self._learn)
                times = np.bincount(places, minlength=len(self._places))
                times[: len(self._times)] += self._times
                self._times = times
        for text in others:
            self._chunks.update(self._cut(text))
        if len(self._chunks) + len(self._places) > _MOST_CHUNKS:
            self._settle()

    def words(self) -> Counter[str]:
        """All that was counted."""
        self._settle()
        return self._words

    def _learn(self, chunks: list[str]) -> NDArray[np.int64]:
        places = self._places
        return np.array([places.setdefault(chunk, len(places)) for chunk in chunks], np.int64)

    def _settle(self) -> None:
        """Make words of the chunks, and forget them."""
        words = self._words
        with guarded("the tokenizer failed on a text"):
            for chunk, count in (*self._chunks.items(), *zip(self._places, self._times.tolist(), strict=True)):
                if self._is_plain(chunk):
                    words[chunk] += count
                    continue
                for word, _ in self._pre_tokenizer.pre_tokenize_str(self._normalizer.normalize_str(mended(chunk))):
                    words[word] += count
        self._chunks.clear()
        self._begin()

    def _is_plain(self, chunk: str) -> bool:
        """Whether it is one word of BERT's that nothing changes."""
        if self._packed is None or not chunk.isascii() or not chunk.isalnum():
            return False
        return not self._packed.lowers or chunk.islower() or chunk.isdigit()


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size, longest = 0, _FIRST_BATCH
    for text in texts:
        start = 0
        while start < len(text):
            end = _cut_near(text, start + longest - size)
            batch.append(text[start:end])
            size += end - start
            start = end
            if size >= longest:
                yield batch
                batch, size, longest = [], 0, min(2 * longest, _LONGEST_BATCH)
    if batch:
        yield batch


def _cut_near(text: str, place: int) -> int:
    """Where a text may be cut at `place` or after it, so that both parts have the words of the whole."""
    if place >= len(text):
        return len(text)
    found = _ONE_SPACE.search(text, place)
    return found.start() if found else len(text)


def _cut(settings: TokenizerSettings) -> Cut:
    if settings.kind == "wordpiece":
        return cut_bert_chinese if settings.split_chinese else cut_bert
    return _cut_keeping_space if settings.kind == "bpe" else cut_words


def _cut_keeping_space(text: str) -> list[str]:
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
