"""The fast encoder: each distinct chunk of text goes to the library once, the rest is table look-up.

Prose repeats itself: 98 of 100 chunks were seen before, so a look-up in a dict and one gather in numpy for a
whole batch replace most of the library's work. The ids are the library's, because the cuts are (chunks.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import AddedToken

from maskling.arrays import offsets_of
from maskling.errors import TokenizerError
from maskling.tokenizer import characters
from maskling.tokenizer.characters import IDEOGRAPH, RUN, SPACE, SPACES, kind, looks_chinese, segment
from maskling.tokenizer.encoding import Encoded, interleave, join
from maskling.tokenizer.library import guarded, mended, without_specials
from maskling.tokenizer.lookup import IS_IDEOGRAPH, SHIFT, STARTS, ByteCut, Learnt, PackedWords, Table, Words, cut
from maskling.tokenizer.pre_split import Chunking, Cut
from maskling.tokenizer.word_starts import Looks, word_starts

# FOLDED DOCS
# [learner] What the library makes of chunks that were not seen before, as arrays, with few calls into it. An Encoding object costs more than the tokenizing of a word. So hundreds of chunks go to the library as one text, parted by a token that no text contains, and are taken apart again by its id.


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
        offsets = offsets_of([len(row) for row in rows])
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
    offsets = offsets_of([len(encoding) for encoding in encodings])
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
