"""The fast encoder: each distinct chunk of text goes to the library once, the rest is table look-up.

Prose repeats itself: 98 of 100 chunks were seen before, so a look-up in a dict and one gather in numpy for a
whole batch replace most of the library's work. The ids are the library's, because the cuts are (chunks.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tokenizers
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.tokenizer.chinese import IDEOGRAPH, RUN, segment
from maskling.tokenizer.chunks import Chunking
from maskling.tokenizer.growing import Growing
from maskling.tokenizer.library import guarded
from maskling.tokenizer.words import character_starts, word_starts

MOST_CHUNKS: Final = 1 << 18  # about 40 MB; then the table starts afresh
_MOST_CHARACTERS: Final = 1 << 23
_LONGEST_BATCH: Final = 1 << 20
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# One int32 a token: its id above two bits.
_STARTS: Final = 1
_IDEOGRAPH: Final = 2
_SHIFT: Final = 2


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of several texts end to end.

    ids: (tokens,) int32; word_starts: (tokens,) bool; offsets: (texts + 1,) int64, where each text's tokens start.
    """

    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    offsets: NDArray[np.int64]


class Encoder:
    """Encodes texts to arrays, through the table of chunks where the tokenizer allows it.

    library: encodes special tokens in the text as plain text; jieba: Chinese words from a dictionary.
    """

    def __init__(
        self, library: tokenizers.Tokenizer, chunking: Chunking | None, continuing: str | None, jieba: bool
    ) -> None:
        self._library = library
        self._chunking = chunking
        self._jieba = jieba
        # With WordPiece each Chinese character is one token, so words can be laid over the tokens afterwards.
        self._overlays = jieba and chunking is not None and chunking.splits_chinese
        self.continuing: NDArray[np.bool_] | None = None
        if continuing is not None:
            vocabulary = library.get_vocab(with_added_tokens=True)
            self.continuing = np.zeros(max(vocabulary.values()) + 1, dtype=bool)
            self.continuing[[id_ for token, id_ in vocabulary.items() if token.startswith(continuing)]] = True
        self._table = _Table()

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
        return parts[0] if len(parts) == 1 else _join(parts)

    def _encode(self, texts: Sequence[str]) -> Encoded:
        try:
            return self._encode_clean(texts)
        except TokenizerError:
            # Half a surrogate pair (from a broken JSON escape) is no character; the library refuses the whole text.
            mended = [_SURROGATE.sub("\ufffd", text) for text in texts]
            if mended == list(texts):
                raise
            return self._encode_clean(mended)

    def _encode_clean(self, texts: Sequence[str]) -> Encoded:
        if self._chunking is None:
            return self._by_library(texts, self._jieba)
        whole = self._whole(texts)
        cuttable = [text for text, aside in zip(texts, whole, strict=True) if not aside] if whole else texts
        encoded = self._by_chunks(cuttable)
        if encoded is None:
            return self._by_library(texts, self._jieba)
        if whole:
            aside_texts = [text for text, aside in zip(texts, whole, strict=True) if aside]
            encoded = _interleave(encoded, self._by_library(aside_texts, self._jieba), whole)
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
        cut = self._chunking.cut
        table = self._table
        if len(table) > MOST_CHUNKS or table.characters > _MOST_CHARACTERS:
            table = self._table = _Table()
        chunks: list[str] = []
        counts = np.empty(len(texts) + 1, dtype=np.int64)
        counts[0] = 0
        for index, text in enumerate(texts):
            chunks += cut(text)
            counts[index + 1] = len(chunks)
        places = np.fromiter(map(table.__getitem__, chunks), dtype=np.int64, count=len(chunks))
        if table.new:
            try:
                self._learn(table)
            except BaseException:
                self._table = _Table()  # chunks without tokens are in it
                raise
        if table.has_unsafe and table.unsafe.values[places].any():
            return None
        codes, ends = table.gather(places)
        starts = (codes & _STARTS).astype(bool)
        offsets = ends[counts]
        if self._overlays:
            ideographs = np.flatnonzero(codes & _IDEOGRAPH)
            if len(ideographs):
                _overlay(starts, ideographs, texts)
        return Encoded(codes >> _SHIFT, starts, offsets)

    def _learn(self, table: _Table) -> None:
        """Encode the chunks that the table has no tokens for yet."""
        assert self._chunking is not None
        new, table.new = table.new, []
        encoded = self._by_library(new, jieba=False)
        codes = (encoded.ids << _SHIFT) | encoded.word_starts
        if self._overlays:
            codes |= _ideograph_bits(new, encoded, self._library)
        unsafe = [self._chunking.keeps_space and self._changes_its_edges(chunk) for chunk in new]
        table.add(codes, np.diff(encoded.offsets), unsafe, sum(map(len, new)))

    def _changes_its_edges(self, chunk: str) -> bool:
        """Whether normalizing moves the white space that the cuts were made by (an accent alone that is stripped)."""
        if chunk.isascii() or self._library.normalizer is None:
            return False
        normal = self._library.normalizer.normalize_str(chunk)
        space = len(chunk) - len(chunk.lstrip())
        return normal[:space] != chunk[:space] or not normal[space:] or normal[space].isspace() or normal[-1].isspace()

    def _by_library(self, texts: Sequence[str], jieba: bool) -> Encoded:
        with guarded("the tokenizer failed on a text"):
            if self.continuing is not None and not jieba:
                # Without offsets the library is faster, and the ## prefix says where words start.
                encodings = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
            else:
                encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
        return by_encodings(texts, encodings, self.continuing, jieba)


def by_encodings(
    texts: Sequence[str], encodings: Sequence[Any], continuing: NDArray[np.bool_] | None, jieba: bool
) -> Encoded:
    """The library's own encodings as arrays; `continuing` (vocabulary,) bool marks WordPiece's ## tokens."""
    offsets = np.zeros(len(encodings) + 1, dtype=np.int64)
    np.cumsum([len(encoding) for encoding in encodings], out=offsets[1:])
    ids = np.fromiter((id_ for encoding in encodings for id_ in encoding.ids), dtype=np.int32, count=int(offsets[-1]))
    if continuing is None:
        rows = [word_starts(text, encoding, jieba) for text, encoding in zip(texts, encodings, strict=True)]
        return Encoded(ids, np.concatenate(rows) if rows else np.zeros(0, dtype=bool), offsets)
    starts = ~continuing[ids]
    for text, encoding, first in zip(texts, encodings, offsets, strict=False):
        if jieba and IDEOGRAPH.search(text):
            at = character_starts(text, jieba=True)
            for index, (begin, end) in enumerate(encoding.offsets, start=int(first)):
                if end - begin == 1 and IDEOGRAPH.match(text[begin]):
                    starts[index] = at[begin]
    return Encoded(ids, starts, offsets)


def _ideograph_bits(chunks: Sequence[str], encoded: Encoded, library: tokenizers.Tokenizer) -> NDArray[np.int32]:
    """_IDEOGRAPH for every token that is one Chinese character. chunks: what `encoded` is of. Returns (tokens,)."""
    bits = np.zeros(len(encoded.ids), dtype=np.int32)
    for chunk, first in zip(chunks, encoded.offsets, strict=False):
        if chunk.isascii() or not IDEOGRAPH.search(chunk):
            continue
        spans = library.encode(chunk, add_special_tokens=False).offsets if len(chunk) > 1 else [(0, 1)]
        for index, (begin, end) in enumerate(spans, start=int(first)):
            if end - begin == 1 and IDEOGRAPH.match(chunk[begin]):
                bits[index] = _IDEOGRAPH
    return bits


class _Table(dict[str, int]):
    """Chunk -> its number; and by number, its tokens. Asking for an unknown chunk numbers it and notes it as new."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []
        self.characters = 0
        self.has_unsafe = False
        self.unsafe = Growing(np.bool_)
        self._codes = Growing(np.int32)
        self._firsts = Growing(np.int64)
        self._lengths = Growing(np.int64)

    def __missing__(self, chunk: str) -> int:
        number = self[chunk] = len(self)
        self.new.append(chunk)
        return number

    def add(self, codes: NDArray[np.int32], counts: NDArray[np.int64], unsafe: list[bool], characters: int) -> None:
        """The tokens of the next chunks, in the order of their numbers."""
        self._firsts.extend(len(self._codes.values) + np.cumsum(counts) - counts)
        self._lengths.extend(counts)
        self._codes.extend(codes)
        self.unsafe.extend(unsafe)
        self.has_unsafe = self.has_unsafe or any(unsafe)
        self.characters += characters

    def gather(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The codes of the chunks at `places` end to end, and (places + 1,) where each chunk's end lies, 0 first."""
        lengths = self._lengths.values[places]
        ends = np.zeros(len(places) + 1, dtype=np.int64)
        np.cumsum(lengths, out=ends[1:])
        source = np.repeat(self._firsts.values[places] - ends[:-1], lengths)
        source += np.arange(ends[-1])
        codes: NDArray[np.int32] = self._codes.values[source]
        return codes, ends


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


def _join(parts: Sequence[Encoded]) -> Encoded:
    ends = np.cumsum([0, *(len(part.ids) for part in parts)])
    offsets = [part.offsets[:-1] + end for part, end in zip(parts, ends, strict=False)]
    return Encoded(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.word_starts for part in parts]),
        np.concatenate([*offsets, ends[-1:]]),
    )


def _interleave(cut: Encoded, whole: Encoded, is_whole: Sequence[bool]) -> Encoded:
    """Put two encodings of different texts into the order in which the texts were given."""
    sides = (cut, whole)
    taken = [0, 0]
    rows = []
    for aside in is_whole:
        side = sides[aside]
        first, end = side.offsets[taken[aside]], side.offsets[taken[aside] + 1]
        taken[aside] += 1
        rows.append(Encoded(side.ids[first:end], side.word_starts[first:end], np.array([0, end - first])))
    return _join(rows)
