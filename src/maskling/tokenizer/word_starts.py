"""Word starts: whether each token of a sequence starts a word, for every kind of tokenizer.

A word is what white space and punctuation leave; a punctuation mark is a word, and so is a Chinese character. In
scripts without spaces, dictionaries may find the words (`segmentation`). There are two methods, which agree.
`word_starts` reads the library's offsets and works on any encoding of any tokenizer. `TokenSpelling` uses the spelling
of the tokens, for many chunks at once, without dictionaries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import offsets_of
from maskling.tokenizer import characters
from maskling.tokenizer.pipeline import has_unit_tokens

_ANY_LENGTH: Final = 1 << 30


def word_starts(text: str, encoding: Any, at: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return whether each token of an encoding starts a word, (tokens,) bool.

    text: the encoded text; encoding: the library's Encoding of it, without special tokens; at: at least (len(text),)
    bool, whether a word starts at each character (`character_word_starts`). A token starts a word if its first
    character does; two words with a boundary inside a token count as one. The space before a word belongs to
    the word if the pre-tokenizer kept both in one piece; other white space that has tokens is a word of its own.
    """
    space = characters.character_kinds(text) == characters.SPACE
    starts = np.zeros(len(encoding), dtype=bool)
    last_end, last_piece, space_open = 0, None, False
    for index, ((first, end), piece) in enumerate(zip(encoding.offsets, encoding.word_ids, strict=True)):
        new_piece = piece is None or piece != last_piece
        body = first
        while body < end and space[body]:
            body += 1
        if first == end:
            # No character of the text: a lone "▁" put before punctuation, or a piece the normalizer made.
            starts[index], space_open = new_piece, True
        elif body == end:
            starts[index] = first >= last_end and (new_piece or first == 0 or not space[first - 1])
            space_open = True
        else:
            # Bytes of one character share its offsets: only the first of them can start a word.
            # (Characters between two tokens were dropped by the normalizer, such as an accent before the first letter.)
            begins = bool(at[body] or space[last_end:first].any()) and (first >= last_end or body > first)
            starts[index] = begins and not (space_open and not new_piece and body == first)
            space_open = False
        last_end, last_piece = max(end, last_end), piece
    if len(starts):
        starts[0] = True
    return starts


class TokenSpelling:
    """Word starts and continuations of a vocabulary, from the spelling of its tokens.

    continuing: (vocab_size,) bool, True where a token continues a word (## of WordPiece); all False where tokens are
    units by themselves (regex, kmer); None for other models.
    can_start: (vocab_size,) bool, True where a word can start with the token. After an opening quote a byte-level model
    starts a word without its space; such tokens count as continuations, as they are nearly everywhere else.
    in_bytes: whether tokens are spelled in the byte-level alphabet.
    """

    def __init__(self, tokens: Sequence[str], model: Mapping[str, Any]) -> None:
        """Classify the tokens. tokens: the vocabulary in id order; model: the "model" object of tokenizer.json."""
        self.continuing: NDArray[np.bool_] | None = None
        units = has_unit_tokens(model)
        self.in_bytes = model["type"] == "BPE" and not units
        prefix = model.get("continuing_subword_prefix") if model["type"] == "WordPiece" else None
        if prefix:
            self.continuing = np.array([token.startswith(prefix) and token != prefix for token in tokens], dtype=bool)
        elif units:
            self.continuing = np.zeros(len(tokens), dtype=bool)
        if self.continuing is not None:
            self.can_start = ~self.continuing
            return
        plain = [token.replace("▁", " ") for token in tokens]
        if self.in_bytes:
            spelled = [token.translate(_BYTES) for token in plain]
            plain = [_text(token) for token in spelled]
            self._lengths = np.array([len(token) for token in spelled], dtype=np.int64)
        else:
            self._lengths = np.array([len(token) for token in plain], dtype=np.int64)
        unknown = model.get("unk_id") if model["type"] == "Unigram" else None
        if model["type"] == "WordLevel" and model.get("unk_token") in tokens:
            unknown = tokens.index(model["unk_token"])
        if unknown is not None:
            # It stands for any number of characters: never for exactly the five of "[UNK]".
            self._lengths[unknown] = _ANY_LENGTH
        self._one_space = np.array([token == " " for token in plain], dtype=bool)
        self.can_start = np.array(
            [characters.character_kind(token[:1] or " ") not in _INSIDE for token in plain], dtype=bool
        )

    def word_starts(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int64], chunks: Sequence[str]
    ) -> tuple[NDArray[np.bool_], list[int]]:
        """Return whether each token starts a word, in chunks with at most one white-space character, at the front.

        ids: (tokens,); offsets: (chunks + 1,), where the tokens of each chunk start; chunks: the normalized chunks,
        with the space that the model puts before them.
        Returns (tokens,) bool, and the indices of the chunks whose tokens do not spell them out (unknown characters):
        the result is not valid there.
        """
        if self.continuing is not None:
            return ~self.continuing[ids], []
        text = "".join(chunks)
        at = characters.character_word_starts(text)
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
        # The position of each token in `text`, corrected by the excess or shortfall of the wrong chunks before it.
        drift = np.cumsum(sizes - spelled) - (sizes - spelled)
        positions = ends[:-1] + np.repeat(drift, np.diff(offsets))
        starts = at[np.minimum(positions, len(at) - 1)] if len(at) else np.zeros(len(ids), dtype=bool)
        first = np.zeros(len(ids), dtype=bool)
        first[offsets[:-1][np.diff(offsets) > 0]] = True
        # If one piece " word" becomes "Ġ" + "word", the space is the start.
        starts[1:] &= ~(first[:-1] & self._one_space[ids[:-1]])
        return starts | first, wrong.tolist()


_INSIDE: Final = (characters.PART, characters.MARK)


def _text(spelled: str) -> str:
    """Return a token's bytes as text; "x" for a token that begins inside a character, which can start no word."""
    try:
        data = spelled.encode("latin-1")
    except UnicodeEncodeError:
        return spelled  # an added token is spelled as it is
    return data.decode("utf-8", "replace") if not 0x80 <= data[0] < 0xC0 else "x"


def _byte_characters() -> dict[int, str]:
    """Return the byte-level alphabet (GPT-2's) for str.translate: from the stand-ins of unprintable bytes to bytes."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(0x100) if byte not in printable]
    return {0x100 + index: chr(byte) for index, byte in enumerate(others)}


_BYTES: Final = _byte_characters()
