"""What the library makes of chunks that were not seen before, as arrays, with few calls into it.

An Encoding object costs more than the tokenizing of a word. So hundreds of chunks go to the library as one
text, parted by a token that no text contains, and are taken apart again by its id.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken

from maskling.tokenizer import characters
from maskling.tokenizer.characters import SPACE, kind
from maskling.tokenizer.chinese import IDEOGRAPH
from maskling.tokenizer.encoded import Encoded, interleave
from maskling.tokenizer.library import guarded, without_specials
from maskling.tokenizer.packed import ByteCut
from maskling.tokenizer.words import Looks, word_starts

_PART: Final = "\U0010ffff"  # not a character: Unicode promises that no text needs it
_CHUNKS_A_TEXT: Final = 500


class Learner:
    """Encodes chunks and whole texts by the library; knows the words of each.

    library: encodes special tokens in the text as plain text; looks: of its vocabulary; bert: how it cuts, if it is
    BERT's.
    """

    def __init__(self, library: tokenizers.Tokenizer, looks: Looks, bert: ByteCut | None) -> None:
        self._library = library
        self._bert = bert if looks.continuing is not None else None
        self._looks = looks
        self._parted = without_specials(library)
        self._parted.add_tokens([AddedToken(_PART, normalized=False)])
        self._part_id = self._parted.token_to_id(_PART)

    def words(self, words: Sequence[str]) -> Encoded:
        """Encode chunks as `chunks` does. What is plainly one word of BERT's needs nothing but its model."""
        plain = [self._bert is not None and word.isascii() and word.isalnum() for word in words]
        others = self.chunks([word for word, one in zip(words, plain, strict=True) if not one])
        if not any(plain):
            return others
        return interleave(others, self._by_model([word for word, one in zip(words, plain, strict=True) if one]), plain)

    def chunks(self, chunks: Sequence[str]) -> Encoded:
        """Encode chunks; words of Chinese are single characters."""
        with guarded("the tokenizer failed on a text"):
            alone = [not self._fits(chunk) for chunk in chunks]
        together = self._together([chunk for chunk, aside in zip(chunks, alone, strict=True) if not aside])
        if not any(alone):
            return together
        apart = [chunk for chunk, aside in zip(chunks, alone, strict=True) if aside]
        return interleave(together, self.texts(apart, jieba=False), alone)

    def texts(self, texts: Sequence[str], jieba: bool) -> Encoded:
        """Encode texts one by one, each exactly as the library does."""
        with guarded("the tokenizer failed on a text"):
            encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
        return by_encodings(texts, encodings, self._looks, jieba)

    def ideographs(self, chunks: Sequence[str], encoded: Encoded) -> NDArray[np.bool_]:
        """Which tokens are one Chinese character each. chunks: what `encoded` is of. Returns (tokens,) bool."""
        found = np.zeros(len(encoded.ids), dtype=bool)
        for chunk, first in zip(chunks, encoded.offsets, strict=False):
            if chunk.isascii() or not IDEOGRAPH.search(chunk):
                continue
            spans = [(0, 1)]
            if len(chunk) > 1:
                spans = self._library.encode(chunk, add_special_tokens=False).offsets
            for index, (begin, end) in enumerate(spans, start=int(first)):
                found[index] = end - begin == 1 and IDEOGRAPH.match(chunk[begin]) is not None
        return found

    def _fits(self, chunk: str) -> bool:
        """Whether a chunk's words can be told from its tokens alone, as its offsets would tell them."""
        if _PART in chunk:
            return False
        if self._looks.continuing is not None:
            return True
        if kind(chunk[0]) == SPACE and (len(chunk) == 1 or kind(chunk[1]) == SPACE):
            return False
        if chunk.isascii():
            return True
        if "▁" in chunk and not self._looks.in_bytes:
            return False  # the text's own, or one that the model puts before a word: only offsets tell
        # "≠" without its accent is "=", a word by itself; offsets see the text as it was written.
        normal = self._normalized(chunk)
        return normal == chunk or np.array_equal(characters.kinds(normal), characters.kinds(chunk))

    def _by_model(self, words: Sequence[str]) -> Encoded:
        """Encode runs of ASCII's letters and digits, which no normalizer of BERT's changes but in their case."""
        assert self._bert is not None
        tokenize = self._library.model.tokenize
        with guarded("the tokenizer failed on a text"):
            rows = [[token.id for token in tokenize(word.lower() if self._bert.lowers else word)] for word in words]
        offsets = np.zeros(len(words) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1]))
        assert self._looks.continuing is not None
        return Encoded(ids, ~self._looks.continuing[ids], offsets)

    def _together(self, chunks: Sequence[str]) -> Encoded:
        firsts = range(0, len(chunks), _CHUNKS_A_TEXT)
        texts = [_PART.join([*chunks[first : first + _CHUNKS_A_TEXT], ""]) for first in firsts]
        with guarded("the tokenizer failed on a text"):
            rows = [encoding.ids for encoding in self._parted.encode_batch_fast(texts, add_special_tokens=False)]
        mixed = np.fromiter((id_ for row in rows for id_ in row), dtype=np.int32, count=sum(map(len, rows)))
        is_part = mixed == self._part_id
        ids = mixed[~is_part]
        parts = np.flatnonzero(is_part)
        assert len(parts) == len(chunks), "one part mark after each chunk"
        offsets = np.zeros(len(chunks) + 1, dtype=np.int64)
        offsets[1:] = parts - np.arange(len(parts))
        if self._looks.continuing is not None:
            return Encoded(ids, ~self._looks.continuing[ids], offsets)
        spelled = [self._normalized(chunk) for chunk in chunks]
        if not self._looks.in_bytes:
            spelled = [f" {chunk}" for chunk in spelled]
        starts, unclear = self._looks.word_starts(ids, offsets, spelled)
        for number in unclear:
            again = self.texts([chunks[number]], jieba=False)
            starts[offsets[number] : offsets[number + 1]] = again.word_starts
        return Encoded(ids, starts, offsets)

    def _normalized(self, chunk: str) -> str:
        normalizer = self._library.normalizer
        # Case and composing change no kinds and no lengths in ASCII.
        return chunk if chunk.isascii() or normalizer is None else normalizer.normalize_str(chunk)


def by_encodings(texts: Sequence[str], encodings: Sequence[Any], looks: Looks, jieba: bool) -> Encoded:
    """The library's own encodings, with offsets, as arrays."""
    offsets = np.zeros(len(encodings) + 1, dtype=np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
    ids = np.fromiter((id_ for encoding in encodings for id_ in encoding.ids), dtype=np.int32, count=int(offsets[-1]))
    if looks.continuing is None:
        rows = [word_starts(text, encoding, jieba) for text, encoding in zip(texts, encodings, strict=True)]
        return Encoded(ids, np.concatenate(rows) if rows else np.zeros(0, dtype=bool), offsets)
    starts = ~looks.continuing[ids]
    for text, encoding, first in zip(texts, encodings, offsets, strict=False):
        if jieba and IDEOGRAPH.search(text):
            at = characters.starts(text, jieba=True)
            for index, (begin, end) in enumerate(encoding.offsets, start=int(first)):
                if end - begin == 1 and IDEOGRAPH.match(text[begin]):
                    starts[index] = at[begin]
    return Encoded(ids, starts, offsets)
