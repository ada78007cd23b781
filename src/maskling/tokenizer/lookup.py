"""Words of a whole batch looked up as numbers, without making a Python string of each.

A word of at most 16 bytes is two numbers of 64 bits, its bytes and zeros behind them, so two words are equal if
their numbers are. A table with open addressing, probed for all words at once, gives the place of each in a `Table`;
only words that it lacks, and longer ones, become strings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array, UInt64Array, offsets_of

# FOLDED DOCS
# [table] A table of texts and their tokens, looked up for many texts at once.
# [growing] An array that grows at its end without being copied each time.


_WIDTH: Final = 8  # bytes of one number
LONGEST: Final = 2 * _WIDTH
_BETWEEN: Final = "\0"  # texts; a text that holds it is not for this way
_PART, _SPACE, _MARK = range(3)
# Which bytes of a number belong to a word that has so many of them there.
_KEPT: Final = np.array([(1 << 8 * count) - 1 for count in range(_WIDTH + 1)], dtype=np.uint64)
_FIRST_BITS: Final = 12


class ByteCut(NamedTuple):
    """How to cut. kinds: (256,) uint8 from `byte_kinds`; lowers: capitals of ASCII become small."""

    kinds: NDArray[np.uint8]
    lowers: bool


class Words(NamedTuple):
    """Words in bytes. firsts, ends: (words,) int64 places in `data`; counts: (texts + 1,) words before each text."""

    data: bytes
    firsts: Int64Array
    ends: Int64Array
    counts: Int64Array


def byte_kinds(spaces: str, marks: str) -> NDArray[np.uint8]:
    """What each byte is: a space, a mark (a word by itself), or part of a word. spaces, marks: ASCII."""
    kinds = np.full(256, _PART, np.uint8)
    kinds[list((_BETWEEN + spaces).encode())] = _SPACE
    kinds[list(marks.encode())] = _MARK
    return kinds


def cut(texts: Sequence[str], how: ByteCut) -> Words | None:
    """The words of texts; None if one holds what this way has no room for (a zero, half a surrogate pair)."""
    try:
        data = _BETWEEN.join([*texts, ""]).encode()
    except UnicodeEncodeError:
        return None
    places = np.frombuffer(data, np.uint8)
    between = np.flatnonzero(places == 0)
    if len(between) != len(texts):
        return None
    kind = how.kinds[places]
    # Of two neighbours that are parts the second goes on with the word of the first; all else stands apart.
    begins = kind != _SPACE
    ends = begins.copy()
    apart = kind != _PART
    apart = apart[1:] | apart[:-1]
    begins[1:] &= apart
    ends[:-1] &= apart
    firsts = np.flatnonzero(begins)
    counts = np.zeros(len(texts) + 1, np.int64)
    counts[1:] = np.searchsorted(firsts, between)
    return Words(data.lower() if how.lowers else data, firsts, np.flatnonzero(ends) + 1, counts)


class PackedWords:
    """Where words stand in a table, found by their bytes."""

    def __init__(self) -> None:
        self._bits = _FIRST_BITS
        self._slots = np.zeros(1 << self._bits, np.int32)  # what stands there, counted from 1
        self._lows, self._highs, self._places = Growing(np.uint64), Growing(np.uint64), Growing(np.int64)

    def places(self, words: Words, ask: Callable[[list[str]], Int64Array]) -> Int64Array:
        """(words,) the place of each word; `ask` is asked for those that are not known, or too long to be."""
        lengths = words.ends - words.firsts
        lows, highs = _packed(words.data, words.firsts, lengths)
        found = self._find(lows, highs)
        found[lengths > LONGEST] = -1
        missing = np.flatnonzero(found < 0)
        if len(missing):
            spans = zip(words.firsts[missing].tolist(), words.ends[missing].tolist(), strict=True)
            places = ask([words.data[first:end].decode() for first, end in spans])
            found[missing] = places
            short = missing[lengths[missing] <= LONGEST]
            _, once = np.unique(found[short], return_index=True)
            chosen = short[once]
            self._add(lows[chosen], highs[chosen], found[chosen])
        return found

    def _find(self, lows: UInt64Array, highs: UInt64Array) -> Int64Array:
        """(words,) places, -1 where there is none."""
        found = np.full(len(lows), -1, np.int64)
        if not len(self._places.values):
            return found
        left = np.arange(len(lows))
        slots = self._home(lows, highs)
        while len(left):
            entries = self._slots[slots] - 1
            hit = (self._lows.values[entries] == lows[left]) & (self._highs.values[entries] == highs[left])
            hit &= entries >= 0
            found[left[hit]] = self._places.values[entries[hit]]
            onward = ~hit & (entries >= 0)
            left, slots = left[onward], self._next(slots[onward])
        return found

    def _add(self, lows: UInt64Array, highs: UInt64Array, places: Int64Array) -> None:
        """Take in words that are not there, each once."""
        self._lows.extend(lows)
        self._highs.extend(highs)
        self._places.extend(places)
        count = len(self._places.values)
        if 2 * count <= len(self._slots):
            self._settle(np.arange(count - len(places), count))
            return
        while 2 * count > len(self._slots) // 2:
            self._bits += 1
            self._slots = np.zeros(1 << self._bits, np.int32)
        self._settle(np.arange(count))

    def _settle(self, entries: Int64Array) -> None:
        slots = self._home(self._lows.values[entries], self._highs.values[entries])
        while len(entries):
            free = self._slots[slots] == 0
            self._slots[slots[free]] = entries[free] + 1
            # Of several that wanted one slot the last has it.
            onward = self._slots[slots] != entries + 1
            entries, slots = entries[onward], self._next(slots[onward])

    def _home(self, lows: UInt64Array, highs: UInt64Array) -> UInt64Array:
        mixed = lows * np.uint64(0x9E3779B97F4A7C15) ^ highs * np.uint64(0xC2B2AE3D27D4EB4F)
        mixed ^= mixed >> np.uint64(32)
        mixed *= np.uint64(0xD6E8FEB86659FD93)
        return mixed >> np.uint64(64 - self._bits)

    def _next(self, slots: UInt64Array) -> UInt64Array:
        return (slots + np.uint64(1)) & np.uint64(len(self._slots) - 1)


def _packed(data: bytes, firsts: Int64Array, lengths: Int64Array) -> tuple[UInt64Array, UInt64Array]:
    """The first and the second eight bytes of each word, zeros where it ends sooner."""
    padded = data + bytes(LONGEST)
    # Every place of the text as the start of a number: a view, nothing is copied.
    numbers = np.ndarray(len(padded) - _WIDTH + 1, "<u8", padded, strides=(1,))
    lows = numbers[firsts] & _KEPT[np.minimum(lengths, _WIDTH)]
    highs = numbers[firsts + _WIDTH] & _KEPT[np.clip(lengths - _WIDTH, 0, _WIDTH)]
    return lows, highs


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
        ends = offsets_of(counts)
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


class Growing:
    """Values of one dtype, appended in bulk and read as one array."""

    def __init__(self, dtype: Any, room: int = 1024) -> None:
        self._values = np.empty(room, dtype=dtype)
        self._used = 0

    @property
    def values(self) -> NDArray[Any]:
        """(n,) what was appended so far; valid until the next append."""
        return self._values[: self._used]

    def extend(self, values: Any) -> None:
        """Append (k,) values."""
        end = self._used + len(values)
        if end > len(self._values):
            wider = np.empty(max(end, 2 * len(self._values)), dtype=self._values.dtype)
            wider[: self._used] = self.values
            self._values = wider
        self._values[self._used : end] = values
        self._used = end
