"""The fast encoder: each distinct chunk of text goes to the library once, the rest is table look-up.

Prose repeats itself: 98 of 100 chunks were seen before, so a look-up in a dict and one gather in numpy for a
whole batch replace most of the library's work. The ids are the library's, because the cuts are (chunks.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
import tokenizers
from numpy.typing import NDArray

from maskling.errors import TokenizerError
from maskling.tokenizer.chinese import IDEOGRAPH, RUN, segment
from maskling.tokenizer.chunks import Chunking
from maskling.tokenizer.encoded import Encoded, interleave, join
from maskling.tokenizer.growing import Growing
from maskling.tokenizer.learner import Learner
from maskling.tokenizer.words import Looks

MOST_CHUNKS: Final = 1 << 18  # about 40 MB; then the table starts afresh
_MOST_CHARACTERS: Final = 1 << 23
_LONGEST_BATCH: Final = 1 << 20
_SURROGATE: Final = re.compile("[\ud800-\udfff]")

# One int32 a token: its id above two bits.
_STARTS: Final = 1
_IDEOGRAPH: Final = 2
_SHIFT: Final = 2


class Encoder:
    """Encodes texts to arrays, through the table of chunks where the tokenizer allows it.

    library: encodes special tokens in the text as plain text; jieba: Chinese words from a dictionary.
    """

    def __init__(self, library: tokenizers.Tokenizer, chunking: Chunking | None, looks: Looks, jieba: bool) -> None:
        self._library = library
        self._learner = Learner(library, looks)
        self._chunking = chunking
        self._jieba = jieba
        # Where each Chinese character is one token, words can be laid over the tokens afterwards.
        self._overlays = jieba and chunking is not None and chunking.splits_chinese
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
        return parts[0] if len(parts) == 1 else join(parts)

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
        encoded = self._learner.chunks(new)
        codes = (encoded.ids << _SHIFT) | encoded.word_starts
        if self._overlays:
            codes[self._learner.ideographs(new, encoded)] |= _IDEOGRAPH
        unsafe = [self._chunking.keeps_space and self._changes_its_edges(chunk) for chunk in new]
        table.add(codes, np.diff(encoded.offsets), unsafe, sum(map(len, new)))

    def _changes_its_edges(self, chunk: str) -> bool:
        """Whether normalizing moves the white space that the cuts were made by (an accent alone that is stripped)."""
        if chunk.isascii() or self._library.normalizer is None:
            return False
        normal = self._library.normalizer.normalize_str(chunk)
        space = len(chunk) - len(chunk.lstrip())
        return normal[:space] != chunk[:space] or not normal[space:] or normal[space].isspace() or normal[-1].isspace()


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
