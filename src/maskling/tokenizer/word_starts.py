"""Where words start in a sequence of tokens, for every kind of tokenizer.

A word is what white space and punctuation leave; a mark of punctuation is a word, and so is a Chinese
character unless a dictionary says otherwise. Two ways to know, which agree: `word_starts` reads the library's
offsets and works on any encoding of any tokenizer; `Looks` goes by the spelling of the tokens, for many chunks
at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import offsets_of
from maskling.tokenizer import characters


def word_starts(text: str, encoding: Any, jieba: bool) -> NDArray[np.bool_]:
    """Whether each token of an encoding starts a word.

    text: what was encoded; encoding: the library's Encoding of it, without special tokens.
    Returns (tokens,) bool. The space before a word belongs to it when the library made them one piece;
    other white space that has tokens is a word of its own.
    """
    at = characters.starts(text, jieba)
    space = characters.kinds(text) == characters.SPACE
    starts = np.zeros(len(encoding), dtype=bool)
    last_end, last_piece, space_open = 0, None, False
    for index, ((first, end), piece) in enumerate(zip(encoding.offsets, encoding.word_ids, strict=True)):
        new_piece = piece is None or piece != last_piece
        body = first
        while body < end and space[body]:
            body += 1
        if first == end:
            # Nothing of the text: a lone "▁" put before punctuation, or a piece the normalizer made.
            starts[index], space_open = new_piece, True
        elif body == end:
            starts[index] = first >= last_end and (new_piece or first == 0 or not space[first - 1])
            space_open = True
        else:
            # Bytes of one character share its offsets: only the first of them can start a word.
            # (What lies between two tokens the normalizer dropped: an accent before the word's first letter, say.)
            begins = bool(at[body] or space[last_end:first].any()) and (first >= last_end or body > first)
            starts[index] = begins and not (space_open and not new_piece and body == first)
            space_open = False
        last_end, last_piece = max(end, last_end), piece
    if len(starts):
        starts[0] = True
    return starts


class Looks:
    """What the tokens of a vocabulary show of words by their spelling.

    continuing: (vocab,) bool for WordPiece, whether a token continues a word (##); None for other models.
    can_start: (vocab,) bool, whether a word can start with the token. After an opening quote a byte-level model starts
    a word without its space; such tokens count as continuations, as they are nearly everywhere else.
    """

    def __init__(self, tokens: Sequence[str], model: Mapping[str, Any]) -> None:
        """tokens: the vocabulary in the order of its ids; model: the part of that name of tokenizer.json."""
        self.continuing: NDArray[np.bool_] | None = None
        self.in_bytes = model["type"] == "BPE"
        prefix = model.get("continuing_subword_prefix") if model["type"] == "WordPiece" else None
        if prefix:
            self.continuing = np.array([token.startswith(prefix) and token != prefix for token in tokens], dtype=bool)
            self.can_start = ~self.continuing
            return
        plain = [token.replace("▁", " ") for token in tokens]
        if self.in_bytes:
            spelled = [token.translate(_BYTES) for token in plain]
            plain = [_text(token) for token in spelled]
            self._lengths = np.array([len(token) for token in spelled], dtype=np.int64)
        else:
            self._lengths = np.array([len(token) for token in plain], dtype=np.int64)
        self._one_space = np.array([token == " " for token in plain], dtype=bool)
        self.can_start = np.array([characters.kind(token[:1] or " ") != characters.PART for token in plain], dtype=bool)

    def word_starts(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int64], chunks: Sequence[str]
    ) -> tuple[NDArray[np.bool_], list[int]]:
        """Whether each token starts a word, in chunks that have at most one white-space character, at their front.

        ids: (tokens,); offsets: (chunks + 1,), where the tokens of each chunk start; chunks: as they were normalized,
        with the space that the model puts before them. Returns (tokens,) bool and the numbers of the chunks whose
        tokens do not spell them out (unknown characters): there the answer is not to be used.
        """
        if self.continuing is not None:
            return ~self.continuing[ids], []
        text = "".join(chunks)
        at = characters.starts(text, jieba=False)
        sizes = np.array([len(chunk) for chunk in chunks], dtype=np.int64)
        if self.in_bytes and not text.isascii():
            codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
            widths = 1 + (codes > 0x7F) + (codes > 0x7FF) + (codes > 0xFFFF)
            at_bytes = np.zeros(int(widths.sum()), dtype=bool)
            at_bytes[np.cumsum(widths) - widths] = at
            at = at_bytes
            sizes = np.array([len(chunk.encode()) for chunk in chunks], dtype=np.int64)
        lengths = self._lengths[ids]
        ends = offsets_of(lengths)
        spelled = ends[offsets[1:]] - ends[offsets[:-1]]
        wrong = np.flatnonzero(spelled != sizes)
        # Where each token starts in `text`: shift by what the wrong chunks before it have too much or too little.
        drift = np.cumsum(sizes - spelled) - (sizes - spelled)
        places = ends[:-1] + np.repeat(drift, np.diff(offsets))
        starts = at[np.minimum(places, len(at) - 1)] if len(at) else np.zeros(len(ids), dtype=bool)
        first = np.zeros(len(ids), dtype=bool)
        first[offsets[:-1][np.diff(offsets) > 0]] = True
        # "Ġ" + "word" out of one piece " word": the space is the start.
        starts[1:] &= ~(first[:-1] & self._one_space[ids[:-1]])
        return starts | first, wrong.tolist()


def _text(spelled: str) -> str:
    """A token's bytes as text; a token that starts inside a character is no start of anything."""
    try:
        data = spelled.encode("latin-1")
    except UnicodeEncodeError:
        return spelled  # an added token: it is spelled as it is
    return data.decode("utf-8", "replace") if not 0x80 <= data[0] < 0xC0 else "x"


def _byte_characters() -> dict[int, str]:
    """The byte-level alphabet (GPT-2's) for str.translate: which character stands for each byte that has no shape."""
    shown = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = [byte for byte in range(0x100) if byte not in shown]
    return {0x100 + place: chr(byte) for place, byte in enumerate(hidden)}


_BYTES: Final = _byte_characters()
