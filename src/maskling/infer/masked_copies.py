"""The masked copies of texts that a pseudo-log-likelihood needs: one for each token, laid out by numpy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from maskling.arrays import Int64Array
from maskling.tokenizer.encoded import Encoded
from maskling.tokenizer.special import SpecialIds

Method = Literal["original", "within-word-l2r"]


@dataclass(frozen=True)
class MaskedCopies:
    """A copy of its text for each token of some texts laid end to end, in which that token is masked.

    ids: (tokens,) int64; first, length: (tokens,) int64, the part of `ids` that each copy shows: the text, or of a text
    that is too long the stretch with its token in the middle; masked: (tokens,) int64, how many tokens are masked,
    from the copy's own on.
    """

    ids: Int64Array
    first: Int64Array
    length: Int64Array
    masked: Int64Array
    special: SpecialIds

    @classmethod
    def of(cls, encoded: Encoded, method: Method, room: int, special: SpecialIds) -> MaskedCopies:
        """Plan the copies. room: most tokens of a text that the model sees at once."""
        begin, size = encoded.offsets[:-1], np.diff(encoded.offsets)
        number = np.arange(len(encoded.ids))
        text_begin, text_size = np.repeat(begin, size), np.repeat(size, size)
        length = np.minimum(text_size, room)
        first = text_begin + np.clip(number - text_begin - room // 2, 0, text_size - length)
        masked = np.ones(len(number), dtype=np.int64)
        if method == "within-word-l2r" and len(number):
            # The rest of the word reaches to the next token that starts one, or to the end of the text.
            starts = encoded.word_starts.copy()
            starts[begin[size > 0]] = True
            masked = np.append(np.flatnonzero(starts), len(number))[np.cumsum(starts)] - number
        return cls(encoded.ids.astype(np.int64), first, length, masked, special)

    def rows(self, numbers: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
        """Some of the copies, padded side by side, special tokens around each.

        numbers: (k,) int64, of their tokens. Returns the input ids (k, longest) int64, the length of each row (k,) and
        the column of each row's own token (k,).
        """
        length = self.length[numbers] + 2
        column = np.arange(int(length.max()))
        place = self.first[numbers, None] + column - 1
        rows = self.ids[np.clip(place, 0, len(self.ids) - 1)]
        own = numbers[:, None]
        rows[(place >= own) & (place < own + self.masked[numbers, None])] = self.special.mask
        rows[:, 0] = self.special.cls
        rows[column >= length[:, None]] = self.special.pad
        rows[np.arange(len(numbers)), length - 1] = self.special.sep
        return rows, length, numbers - self.first[numbers] + 1
