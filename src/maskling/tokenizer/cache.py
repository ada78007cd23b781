"""The fast encoder: each distinct chunk of text goes to the library once, the rest is table look-up.

Prose repeats itself: 98 of 100 chunks were seen before, so a look-up in a dict and one gather in numpy for a
whole batch replace most of the library's work. The ids are the library's, because the cuts are (chunks.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import tokenizers
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.tokenizer.characters import SPACES
from maskling.tokenizer.chinese import IDEOGRAPH, RUN, looks_chinese, segment
from maskling.tokenizer.chunks import Chunking, Cut
from maskling.tokenizer.encoded import Encoded, interleave, join
from maskling.tokenizer.learner import Learner
from maskling.tokenizer.library import mended
from maskling.tokenizer.packed import PackedWords, Words, cut
from maskling.tokenizer.table import IS_IDEOGRAPH, SHIFT, STARTS, Learnt, Table
from maskling.tokenizer.words import Looks

MOST_CHUNKS: Final = 1 << 18  # about 40 MB; then the tables start afresh
_LONGEST_BATCH: Final = 1 << 20
# Characters from which it pays to cut a batch in numpy: below, the calls into it take longer than a loop over words.
_WORTH_PACKING: Final = 1 << 14


class Encoder:
    """Encodes texts to arrays, through the table of chunks where the tokenizer allows it.

    library: encodes special tokens in the text as plain text; jieba: Chinese words from a dictionary.
    """

    def __init__(self, library: tokenizers.Tokenizer, chunking: Chunking | None, looks: Looks, jieba: bool) -> None:
        self._library = library
        self._learner = Learner(library, looks, chunking.packed if chunking is not None else None)
        self._chunking = chunking
        self._jieba = jieba
        # Where each Chinese character is one token, words can be laid over the tokens afterwards.
        self._overlays = jieba and chunking is not None and chunking.splits_chinese
        self._forget()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts, each by itself, without special tokens. Raises TokenizerError if the library fails."""
        parts: list[Encoded] = []
        first, size = 0, 0
        for index, text in enumerate(texts):
            size += len(text)
            if size >= _LONGEST_BATCH:
                parts.append(self._encode(texts[first : index + 1]))
                first, size = index + 1, 0
        if first < len(texts) or not parts:
            parts.append(self._encode(texts[first:]))
        return parts[0] if len(parts) == 1 else join(parts)

    def _encode(self, texts: Sequence[str]) -> Encoded:
        try:
            return self._encode_clean(texts)
        except TokenizerError:
            whole = [mended(text) for text in texts]
            if whole == list(texts):
                raise
            return self._encode_clean(whole)

    def _encode_clean(self, texts: Sequence[str]) -> Encoded:
        if self._chunking is None:
            return self._learner.texts(texts, self._jieba)
        whole = self._whole(texts)
        cuttable = [text for text, aside in zip(texts, whole, strict=True) if not aside] if whole else texts
        encoded = self._by_chunks(cuttable)
        if encoded is None:
            return self._learner.texts(texts, self._jieba)
        if whole:
            aside_texts = [text for text, aside in zip(texts, whole, strict=True) if aside]
            encoded = interleave(encoded, self._learner.texts(aside_texts, self._jieba), whole)
        return encoded

    def _whole(self, texts: Sequence[str]) -> list[bool]:
        """Which texts must not be cut; an empty list for none of them."""
        assert self._chunking is not None
        markers = self._chunking.markers
        overlay_needs_offsets = self._jieba and not self._overlays
        if not markers and not overlay_needs_offsets:
            return []
        joined = "\n".join(texts)
        present = [marker for marker in markers if marker in joined]
        if not present and not (overlay_needs_offsets and not joined.isascii() and IDEOGRAPH.search(joined)):
            return []
        return [
            any(marker in text for marker in present) or (overlay_needs_offsets and IDEOGRAPH.search(text) is not None)
            for text in texts
        ]

    def _by_chunks(self, texts: Sequence[str]) -> Encoded | None:
        """Encode by table; None if a chunk turns out not to stand by itself."""
        assert self._chunking is not None
        if self._chunks.is_full or self._words.is_full:
            self._forget()
        try:
            words = self._packed(texts)
            if words is not None:
                table, counts = self._words, words.counts
                places = self._known.places(words, lambda new: table.places(new, self._learn_words))
            else:
                table = self._chunks
                chunks, counts = _all(self._chunking.cut, texts)
                places = table.places(chunks, self._learn_chunks)
        except BaseException:
            self._forget()  # texts without tokens are in a table
            raise
        if table.any_unsafe(places):
            return None
        codes, ends = table.gather(places)
        starts = (codes & STARTS).astype(bool)
        if self._overlays:
            ideographs = np.flatnonzero(codes & IS_IDEOGRAPH)
            if len(ideographs):
                _overlay(starts, ideographs, texts)
        return Encoded(codes >> SHIFT, starts, ends[counts])

    def _packed(self, texts: Sequence[str]) -> Words | None:
        """The texts cut in bytes, where that is possible and faster."""
        assert self._chunking is not None
        if self._chunking.packed is None or sum(map(len, texts)) < _WORTH_PACKING:
            return None
        # A sentence of Chinese would be one word, as good as never seen before.
        if self._chunking.splits_chinese and any(map(looks_chinese, texts)):
            return None
        return cut(texts, self._chunking.packed)

    def _forget(self) -> None:
        self._chunks, self._words, self._known = Table(MOST_CHUNKS), Table(MOST_CHUNKS), PackedWords()

    def _learn_chunks(self, chunks: list[str]) -> Learnt:
        """The tokens of chunks that were not seen before: those of their words, end to end."""
        assert self._chunking is not None
        words, counts = _all(self._chunking.finer, chunks)
        codes, ends = self._words.gather(self._words.places(words, self._learn_words))
        unsafe = [self._chunking.keeps_space and self._changes_its_edges(chunk) for chunk in chunks]
        return Learnt(codes, np.diff(ends[counts]), unsafe)

    def _learn_words(self, words: list[str]) -> Learnt:
        """The tokens that the library gives to words that were not seen before."""
        encoded = self._learner.words(words)
        codes = (encoded.ids << SHIFT) | encoded.word_starts
        if self._overlays:
            codes[self._learner.ideographs(words, encoded)] |= IS_IDEOGRAPH
        return Learnt(codes, np.diff(encoded.offsets), [False] * len(words))

    def _changes_its_edges(self, chunk: str) -> bool:
        """Whether normalizing moves the white space that the cuts were made by (an accent alone that is stripped)."""
        if chunk.isascii() or self._library.normalizer is None:
            return False
        normal = self._library.normalizer.normalize_str(chunk)
        space = len(chunk) - len(chunk.lstrip(SPACES))
        if normal[:space] != chunk[:space] or not normal[space:]:
            return True
        return normal[space] in SPACES or normal[-1] in SPACES


def _all(cut: Cut, texts: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The pieces of all texts, and (texts + 1,) how many stand before each text."""
    pieces: list[str] = []
    counts = np.zeros(len(texts) + 1, dtype=np.int64)
    for index, text in enumerate(texts, start=1):
        pieces += cut(text)
        counts[index] = len(pieces)
    return pieces, counts


def _overlay(starts: NDArray[np.bool_], ideographs: NDArray[np.int64], texts: Sequence[str]) -> None:
    """Replace the word starts of Chinese characters by those of dictionary words, in place.

    ideographs: (n,) where in `starts` the Chinese characters of all texts lie, in order.
    """
    bits: list[bool] = []
    for text in texts:
        for run in RUN.findall(text):
            for word in segment(run):
                bits += [True] + [False] * (len(word) - 1)
    assert len(bits) == len(ideographs), "a Chinese character is one token"
    starts[ideographs] = bits
