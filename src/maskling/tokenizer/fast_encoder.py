"""The fast encoder: each distinct word of text goes through the library once, the rest is table look-up.

Natural text repeats itself: 98 of 100 chunks have occurred before, so a look-up and one gather in numpy for a whole
batch replace most of the library's work. The ids are the library's, because a text is split only where that changes no
token (`pre_split`).

An Encoding object of the library costs more than tokenizing a word. Therefore hundreds of new chunks go to the library
as one text, separated by a token that occurs in no text, and are taken apart again by the id of that token.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
import tokenizers
from tokenizers import AddedToken

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.errors import TokenizerError
from maskling.grouping import grouped
from maskling.tokenizer import characters
from maskling.tokenizer.characters import (
    MARK,
    SPACE,
    SPACES,
    character_kind,
    looks_chinese,
)
from maskling.tokenizer.encoding import Encoded, from_encodings, interleave, join
from maskling.tokenizer.library import (
    MAX_WORD_CHARACTERS,
    library_errors,
    replace_surrogates,
    with_special_as_text,
)
from maskling.tokenizer.lookup import (
    ID_SHIFT,
    IS_IDEOGRAPH,
    WORD_START,
    TokenCodes,
    TokenTable,
    WordHashTable,
    WordSpans,
    split_bytes,
)
from maskling.tokenizer.normalization import ZERO_WIDTH_SPACE
from maskling.tokenizer.pre_split import Chunking, Splitter
from maskling.tokenizer.segmentation import IDEOGRAPH, IDEOGRAPH_RUN, NO_DICTIONARIES, WordRules
from maskling.tokenizer.word_starts import TokenSpelling

MAX_TABLE_TEXTS: Final = 1 << 18  # about 40 MB; then the tables start afresh
_MAX_BATCH_CHARACTERS: Final = 1 << 20
# Characters from which splitting a batch as bytes pays: below, the numpy calls take longer than a loop over words.
_MIN_BYTES_CHARACTERS: Final = 1 << 14
_SEPARATOR: Final = "\U0010ffff"  # not a character: Unicode guarantees that no text needs it
_CHUNKS_PER_TEXT: Final = 500


class FastEncoder:
    """Encodes texts to arrays, by table look-up of their chunks where the tokenizer allows it.

    library: encodes special tokens in the text as plain text; chunking: where texts may be split, None for nowhere;
    words: how words are found in scripts without spaces.
    """

    def __init__(
        self, library: tokenizers.Tokenizer, chunking: Chunking | None, spelling: TokenSpelling, words: WordRules
    ) -> None:
        self._library = library
        self._library_encoder = LibraryEncoder(library, spelling, chunking)
        self._chunking = chunking
        self._rules = words
        # Where each Chinese character is one token, dictionary words can be marked on the tokens afterwards.
        self._marks_chinese_words = words.chinese != "characters" and chunking is not None and chunking.splits_chinese
        self._reset_tables()

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode texts independently, without special tokens. Raises TokenizerError if the library fails."""
        parts = [self._encode_batch(batch) for batch in grouped(texts, len, _MAX_BATCH_CHARACTERS)]
        if not parts:
            parts = [self._encode_batch([])]
        return parts[0] if len(parts) == 1 else join(parts)

    def _encode_batch(self, texts: Sequence[str]) -> Encoded:
        try:
            return self._encode_valid(texts)
        except TokenizerError:
            valid = [replace_surrogates(text) for text in texts]
            if valid == list(texts):
                raise
            return self._encode_valid(valid)

    def _encode_valid(self, texts: Sequence[str]) -> Encoded:
        if self._chunking is None:
            return self._library_encoder.texts(texts, self._rules)
        unsplittable = self._unsplittable(texts)
        splittable = texts
        if unsplittable:
            splittable = [text for text, whole in zip(texts, unsplittable, strict=True) if not whole]
        encoded = self._by_chunks(splittable)
        if unsplittable:
            whole_texts = [text for text, whole in zip(texts, unsplittable, strict=True) if whole]
            encoded = interleave(encoded, self._library_encoder.texts(whole_texts, self._rules), unsplittable)
        return encoded

    def _unsplittable(self, texts: Sequence[str]) -> list[bool]:
        """Return whether each text must go to the library whole; an empty list if none must."""
        assert self._chunking is not None
        markers = self._chunking.markers
        chinese_needs_offsets = self._rules.chinese != "characters" and not self._marks_chinese_words
        needs_offsets = self._rules.apply_to if chinese_needs_offsets else self._rules.need_offsets
        if not markers and self._rules == NO_DICTIONARIES:
            return []
        joined = "\n".join(texts)
        present = [marker for marker in markers if marker in joined]
        if not present and not needs_offsets(joined) and not self._has_marked_ideographs(joined):
            return []
        return [
            any(marker in text for marker in present) or needs_offsets(text) or self._has_marked_ideographs(text)
            for text in texts
        ]

    def _has_marked_ideographs(self, text: str) -> bool:
        """Return whether a text has marks among Chinese characters of dictionary words, to which they belong."""
        if not self._marks_chinese_words or text.isascii() or not IDEOGRAPH.search(text):
            return False
        return bool((characters.character_kinds(text) == MARK).any())

    def _by_chunks(self, texts: Sequence[str]) -> Encoded:
        """Encode by table look-up; texts with a chunk that depends on its neighbours go to the library whole."""
        assert self._chunking is not None
        if self._chunks.is_full or self._words.is_full:
            self._reset_tables()
        try:
            spans = self._split_bytes(texts)
            if spans is not None:
                table, counts = self._words, spans.counts
                indices = self._word_hash.indices(spans, lambda new: table.indices(new, self._encode_byte_words))
            else:
                table = self._chunks
                chunks, counts = _split_all(self._chunking.split, texts)
                indices = table.indices(chunks, self._encode_chunks)
        except BaseException:
            self._reset_tables()  # a table holds texts without tokens
            raise
        unsafe = table.unsafe(indices)
        if unsafe is not None:
            flags = np.repeat(np.arange(len(texts)), np.diff(counts))[unsafe]
            whole = np.isin(np.arange(len(texts)), flags).tolist()
            rest = self._by_chunks([text for text, alone in zip(texts, whole, strict=True) if not alone])
            alone = self._library_encoder.texts(
                [text for text, alone in zip(texts, whole, strict=True) if alone], self._rules
            )
            return interleave(rest, alone, whole)
        codes, offsets = table.gather(indices)
        starts = (codes & WORD_START).astype(bool)
        if self._marks_chinese_words:
            ideographs = np.flatnonzero(codes & IS_IDEOGRAPH)
            if len(ideographs):
                _mark_chinese_words(starts, ideographs, texts, self._rules)
        return Encoded(codes >> ID_SHIFT, starts, offsets[counts])

    def _split_bytes(self, texts: Sequence[str]) -> WordSpans | None:
        """Split texts into words as bytes, if that is possible and faster; else return None."""
        assert self._chunking is not None
        if self._chunking.byte_split is None or sum(map(len, texts)) < _MIN_BYTES_CHARACTERS:
            return None
        # A Chinese sentence would be one word, which has hardly ever occurred before.
        if self._chunking.splits_chinese and any(map(looks_chinese, texts)):
            return None
        return split_bytes(texts, self._chunking.byte_split)

    def _reset_tables(self) -> None:
        self._chunks, self._words = TokenTable(MAX_TABLE_TEXTS), TokenTable(MAX_TABLE_TEXTS)
        self._word_hash = WordHashTable()

    def _encode_chunks(self, chunks: list[str]) -> TokenCodes:
        """Encode new chunks: the tokens of a chunk are those of its words, concatenated."""
        assert self._chunking is not None
        words, counts = _split_all(self._chunking.split_words, chunks)
        codes, offsets = self._words.gather(self._words.indices(words, self._encode_words))
        unsafe = [self._chunking.keeps_space and self._changes_its_edges(chunk) for chunk in chunks]
        return TokenCodes(codes, np.diff(offsets[counts]), unsafe)

    def _encode_byte_words(self, words: list[str]) -> TokenCodes:
        """Encode new words that were split as bytes, which leaves “word and word’s whole."""
        assert self._chunking is not None
        is_whole = np.fromiter(map(str.isascii, words), dtype=bool, count=len(words))
        if is_whole.all():
            return self._encode_words(words)
        whole = [word for word in words if word.isascii()]
        pieces, counts = _split_all(self._chunking.split_words, [word for word in words if not word.isascii()])
        distinct = {piece: len(whole) + index for index, piece in enumerate(dict.fromkeys(pieces))}
        found = self._encode_words([*whole, *distinct])
        # The pieces of each word, then the codes of each piece.
        num_pieces = np.ones(len(words), dtype=np.int64)
        num_pieces[~is_whole] = np.diff(counts)
        bounds = offsets_of(num_pieces)
        indices = np.empty(bounds[-1], dtype=np.int64)
        of_whole = np.repeat(is_whole, num_pieces)
        indices[of_whole] = np.arange(len(whole))
        indices[~of_whole] = [distinct[piece] for piece in pieces]
        lengths = found.counts[indices]
        offsets, firsts = offsets_of(lengths), offsets_of(found.counts)[indices]
        source = np.repeat(firsts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return TokenCodes(found.codes[source], np.diff(offsets[bounds]), [False] * len(words))

    def _encode_words(self, words: list[str]) -> TokenCodes:
        """Encode new words with the library."""
        encoded = self._library_encoder.words(words)
        codes = (encoded.ids << ID_SHIFT) | encoded.word_starts
        if self._marks_chinese_words:
            codes[self._library_encoder.ideographs(words, encoded)] |= IS_IDEOGRAPH
        return TokenCodes(codes, np.diff(encoded.offsets), [False] * len(words))

    def _changes_its_edges(self, chunk: str) -> bool:
        """Return whether normalizing moves the white space where the text was split (a lone accent that is removed)."""
        normalizer = self._library.normalizer
        if normalizer is None or (chunk.isascii() and chunk.isprintable()):
            return False
        body = chunk.lstrip(SPACES)
        if not body:
            return False
        normal = normalizer.normalize_str(body)
        if not normal or normal[0] in SPACES or normal[-1] in SPACES:
            return True
        return bool(normalizer.normalize_str(chunk) != normalizer.normalize_str(chunk[: -len(body)]) + normal)


def _split_all(split: Splitter, texts: Sequence[str]) -> tuple[list[str], Int64Array]:
    """Return the pieces of all texts, and (texts + 1,) int64, the number of pieces before each text."""
    pieces: list[str] = []
    counts = np.zeros(len(texts) + 1, dtype=np.int64)
    for index, text in enumerate(texts, start=1):
        pieces += split(text)
        counts[index] = len(pieces)
    return pieces, counts


def _mark_chinese_words(starts: BoolArray, ideographs: Int64Array, texts: Sequence[str], rules: WordRules) -> None:
    """Replace the word starts of Chinese characters by those of dictionary words, in place.

    starts: (tokens,) bool; ideographs: (n,) int64, the tokens that are Chinese characters, of all texts in order.
    """
    marks = bytearray()
    for text in texts:
        for run in IDEOGRAPH_RUN.findall(text):
            marks += b"\1" if len(run) == 1 else b"".join(map(_word_of_length, map(len, rules.segment_chinese(run))))
    assert len(marks) == len(ideographs), "a Chinese character is one token"
    starts[ideographs] = np.frombuffer(marks, dtype=np.bool_)


@functools.cache
def _word_of_length(length: int) -> bytes:
    return b"\1" + bytes(length - 1)


class LibraryEncoder:
    """Encodes chunks and whole texts with the library, and finds the word starts of each.

    library: encodes special tokens in the text as plain text; spelling: of its vocabulary; chunking: where texts may be
    split, None for nowhere.
    """

    def __init__(self, library: tokenizers.Tokenizer, spelling: TokenSpelling, chunking: Chunking | None) -> None:
        self._library = library
        self._byte_split = chunking.byte_split if chunking is not None and spelling.continuing is not None else None
        self._chunking = chunking
        self._before = " " if chunking is not None and chunking.needs_space else ""
        self._adds_space = not spelling.in_bytes and not (chunking is not None and chunking.keeps_space)
        self._spelling = spelling
        self._separating = with_special_as_text(library)
        self._separating.add_tokens([AddedToken(_SEPARATOR, normalized=False)])
        self._separator_id = self._separating.token_to_id(_SEPARATOR)

    def words(self, words: Sequence[str]) -> Encoded:
        """Encode words as `chunks` does; words of ASCII letters and digits need only the model of a BERT tokenizer."""
        plain = [self._is_plain(word) for word in words]
        others = self.chunks([word for word, is_plain in zip(words, plain, strict=True) if not is_plain])
        if not any(plain):
            return others
        plain_words = [word for word, is_plain in zip(words, plain, strict=True) if is_plain]
        return interleave(others, self._by_model(plain_words), plain)

    def chunks(self, chunks: Sequence[str]) -> Encoded:
        """Encode chunks; every Chinese character is a word."""
        with library_errors("the tokenizer failed on a text"):
            alone = [not self._spelling_suffices(chunk) for chunk in chunks]
        joined = self._joined([chunk for chunk, is_alone in zip(chunks, alone, strict=True) if not is_alone])
        if not any(alone):
            return joined
        separate = [chunk for chunk, is_alone in zip(chunks, alone, strict=True) if is_alone]
        return interleave(joined, self.texts(separate, NO_DICTIONARIES), alone)

    def texts(self, texts: Sequence[str], words: WordRules) -> Encoded:
        """Encode texts one by one, with the library's own offsets."""
        with library_errors("the tokenizer failed on a text"):
            texts = [self.offsets_text(text) for text in texts]
            encodings = self._library.encode_batch(list(texts), add_special_tokens=False)
        return from_encodings(texts, encodings, self._spelling, words)

    def offsets_text(self, text: str) -> str:
        """Return the text with the same tokens that word starts are read off: normalized, if that is safe."""
        chunking = self._chunking
        if chunking is None or not chunking.normal_first or (text.isascii() and text.isprintable()):
            return text
        normal = str(self._library.normalizer.normalize_str(text))
        # An added token is found in a text as it is written.
        return text if any(marker in text or marker in normal for marker in chunking.markers) else normal

    def ideographs(self, chunks: Sequence[str], encoded: Encoded) -> BoolArray:
        """Return which tokens are one Chinese character each, (tokens,) bool. encoded: the encoding of `chunks`."""
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

    def _spelling_suffices(self, chunk: str) -> bool:
        """Return whether the spelling of a chunk's tokens gives the same word starts as their offsets would."""
        if _SEPARATOR in chunk:
            return False
        if self._spelling.continuing is not None:
            return True
        if character_kind(chunk[0]) == MARK:
            return False  # spelled behind another chunk, it would belong to that chunk's last character
        if character_kind(chunk[0]) == SPACE and (len(chunk) == 1 or character_kind(chunk[1]) == SPACE):
            return False
        if chunk.isascii() and chunk.isprintable():
            return True
        if ZERO_WIDTH_SPACE in chunk:
            return False  # it becomes a space inside the chunk
        if "▁" in chunk and not self._spelling.in_bytes:
            return False  # the text's own, or one that the model puts before a word: only offsets distinguish them
        # "≠" without its accent is "=", a word by itself; offsets refer to the text as written.
        normal = self._normalized(chunk)
        return normal == chunk or np.array_equal(characters.character_kinds(normal), characters.character_kinds(chunk))

    def _is_plain(self, word: str) -> bool:
        """Return whether a word is of ASCII letters and digits whose lower case is ASCII too (I is not in Turkish)."""
        rules = self._byte_split
        if rules is None or not word.isascii() or not word.isalnum() or len(word) > MAX_WORD_CHARACTERS:
            return False
        return "I" not in word or rules.lower is None or rules.lower[ord("I")] == ord("i")

    def _by_model(self, words: Sequence[str]) -> Encoded:
        """Encode words of ASCII letters and digits, in which the normalizer changes nothing but case."""
        assert self._byte_split is not None
        tokenize, lowercase = self._library.model.tokenize, self._byte_split.lower is not None
        with library_errors("the tokenizer failed on a text"):
            rows = [[token.id for token in tokenize(word.lower() if lowercase else word)] for word in words]
        offsets = offsets_of([len(row) for row in rows])
        ids = np.fromiter(itertools.chain.from_iterable(rows), dtype=np.int32, count=int(offsets[-1]))
        assert self._spelling.continuing is not None
        return Encoded(ids, ~self._spelling.continuing[ids], offsets)

    def _joined(self, chunks: Sequence[str]) -> Encoded:
        """Encode chunks many at a time, as one text with separators."""
        firsts = range(0, len(chunks), _CHUNKS_PER_TEXT)
        separator = _SEPARATOR + self._before
        texts = [self._before + separator.join([*chunks[first : first + _CHUNKS_PER_TEXT], ""]) for first in firsts]
        with library_errors("the tokenizer failed on a text"):
            rows = [encoding.ids for encoding in self._separating.encode_batch_fast(texts, add_special_tokens=False)]
        mixed = np.fromiter((id_ for row in rows for id_ in row), dtype=np.int32, count=sum(map(len, rows)))
        is_separator = mixed == self._separator_id
        ids = mixed[~is_separator]
        separators = np.flatnonzero(is_separator)
        assert len(separators) == len(chunks), "one separator after each chunk"
        offsets = np.zeros(len(chunks) + 1, dtype=np.int64)
        offsets[1:] = separators - np.arange(len(separators))
        if self._spelling.continuing is not None:
            return Encoded(ids, ~self._spelling.continuing[ids], offsets)
        spelled = [self._normalized(chunk) for chunk in chunks]
        if self._adds_space:
            spelled = [f" {chunk}" for chunk in spelled]
        starts, unclear = self._spelling.word_starts(ids, offsets, spelled)
        for index in unclear:
            again = self.texts([chunks[index]], NO_DICTIONARIES)
            starts[offsets[index] : offsets[index + 1]] = again.word_starts
        return Encoded(ids, starts, offsets)

    def _normalized(self, chunk: str) -> str:
        normalizer = self._library.normalizer
        # In visible ASCII, no step changes character kinds or lengths.
        unchanged = normalizer is None or (chunk.isascii() and chunk.isprintable() and "  " not in chunk)
        return chunk if unchanged else normalizer.normalize_str(chunk)
