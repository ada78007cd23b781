"""A table of texts and their tokens, looked up for many texts at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskling.tokenizer.growing import Growing

# One int32 a token: its id above two bits.
STARTS: Final = 1  # a word starts with it
IS_IDEOGRAPH: Final = 2  # it is one Chinese character
SHIFT: Final = 2

_MOST_CHARACTERS: Final = 1 << 23


class Learnt(NamedTuple):
    """Tokens of several texts: codes (tokens,) int32; counts (texts,) int64 of tokens; unsafe, a flag for each."""

    codes: NDArray[np.int32]
    counts: NDArray[np.int64]
    unsafe: list[bool]


class Table:
    """Text -> its number; and by number, its tokens."""

    def __init__(self, most: int) -> None:
        """most: how many texts make it full (nothing happens then; the owner is to start another)."""
        self._most = most
        self._numbers = _Numbers()
        self._characters = 0
        self._has_unsafe = False
        self._unsafe = Growing(np.bool_)
        self._codes = Growing(np.int32)
        self._firsts = Growing(np.int64)
        self._counts = Growing(np.int64)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def is_full(self) -> bool:
        """Whether it holds so much that it is time to start afresh."""
        return len(self._numbers) > self._most or self._characters > _MOST_CHARACTERS

    def places(self, texts: list[str], learn: Callable[[list[str]], Learnt]) -> NDArray[np.int64]:
        """The numbers of `texts`, (n,) int64; `learn` is asked once for the tokens of all that are new."""
        found = np.fromiter(map(self._numbers.__getitem__, texts), dtype=np.int64, count=len(texts))
        if self._numbers.new:
            new, self._numbers.new = self._numbers.new, []
            self._add(learn(new))
            self._characters += sum(map(len, new))
        return found

    def any_unsafe(self, places: NDArray[np.int64]) -> bool:
        """Whether one of the texts was marked unsafe."""
        return self._has_unsafe and bool(self._unsafe.values[places].any())

    def gather(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """The codes of the texts at `places` end to end, and (places + 1,) where each text's end lies, 0 first."""
        counts = self._counts.values[places]
        ends = np.zeros(len(places) + 1, dtype=np.int64)
        np.cumsum(counts, out=ends[1:])
        source = np.repeat(self._firsts.values[places] - ends[:-1], counts)
        source += np.arange(ends[-1])
        codes: NDArray[np.int32] = self._codes.values[source]
        return codes, ends

    def _add(self, learnt: Learnt) -> None:
        codes, counts, unsafe = learnt
        self._firsts.extend(len(self._codes.values) + np.cumsum(counts) - counts)
        self._counts.extend(counts)
        self._codes.extend(codes)
        self._unsafe.extend(unsafe)
        self._has_unsafe = self._has_unsafe or any(unsafe)


class _Numbers(dict[str, int]):
    """Numbers texts in the order in which they are first asked for, and notes those as new."""

    def __init__(self) -> None:
        super().__init__()
        self.new: list[str] = []

    def __missing__(self, text: str) -> int:
        number = self[text] = len(self)
        self.new.append(text)
        return number
