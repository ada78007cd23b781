"""The words of many examples at once, laid end to end."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from maskling.arrays import BoolArray, Int64Array, UInt64Array
from maskling.randomness import bits


@dataclass(frozen=True)
class Words:
    """Which word each token of some examples belongs to.

    example: (n,) int64, which example, never falling; every example has a token.
    position: (n,) int64, place within the example.
    word: (n,) int64, running number of the word over all examples, never falling; -1 for tokens that must not be
        predicted. The tokens of a word stand side by side.
    num_examples: how many examples.
    """

    example: Int64Array
    position: Int64Array
    word: Int64Array
    num_examples: int

    @cached_property
    def ordinary(self) -> Int64Array:
        """(m,) int64, where the tokens are that may be predicted, ascending."""
        return np.flatnonzero(self.word >= 0)

    @cached_property
    def num_ordinary(self) -> Int64Array:
        """(num_examples,) int64, how many tokens of each example may be predicted."""
        return np.bincount(self.example[self.ordinary], minlength=self.num_examples)


@dataclass(frozen=True)
class Units:
    """What a masking takes whole: tokens, words or runs of words, in the order of the text.

    example: (u,) int64, the example of each unit, never falling; position: (u,) int64, of its first token;
    length: (u,) int64, its tokens. End to end they are the ordinary tokens of `words`.
    """

    words: Words
    example: Int64Array
    position: Int64Array
    length: Int64Array

    @classmethod
    def beginning(cls, words: Words, begins: BoolArray) -> Units:
        """Units from the ordinary tokens that begin one. begins: (m,) bool over `words.ordinary`, the first True."""
        first = np.flatnonzero(begins)
        token = words.ordinary[first]
        length = np.diff(first, append=len(begins))
        return cls(words, words.example[token], words.position[token], length)

    @cached_property
    def count(self) -> Int64Array:
        """(num_examples,) int64, how many units each example has."""
        return np.bincount(self.example, minlength=self.words.num_examples)

    def shuffled(self, keys: UInt64Array) -> Int64Array:
        """The units of each example in a random order, the examples in theirs. keys: (examples,). Returns (u,) int64.

        One sort of example, 32 random bits and number within the example packed into a word: ten
        times as fast as a stable argsort. A tie, one pair in 2**32, keeps the order of the text.
        """
        assert self.words.num_examples <= 1 << 16
        assert self.count.max(initial=0) <= 1 << 16
        first = (np.cumsum(self.count) - self.count)[self.example]
        packed = bits(keys[self.example], self.position) >> np.uint64(32) << np.uint64(16)
        packed |= self.example.astype(np.uint64) << np.uint64(48)
        packed |= (np.arange(len(first)) - first).astype(np.uint64)
        packed.sort()
        return (packed & np.uint64(0xFFFF)).astype(np.int64) + first

    def tokens(self, taken: BoolArray) -> BoolArray:
        """The tokens of the taken units. taken: (u,) bool. Returns (n,) bool over all tokens of `words`."""
        chosen = np.zeros(len(self.words.word), dtype=bool)
        chosen[self.words.ordinary] = np.repeat(taken, self.length)
        return chosen


def token_units(words: Words) -> Units:
    """Each ordinary token by itself."""
    token = words.ordinary
    return Units(words, words.example[token], words.position[token], np.ones(len(token), np.int64))


def word_units(words: Words) -> Units:
    """Each word."""
    word = words.word[words.ordinary]
    return Units.beginning(words, np.diff(word, prepend=-1) != 0)
