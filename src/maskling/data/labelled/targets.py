"""What is to be said of each sequence, in the form that a head and its loss want."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import Int64Array
from maskling.data.shards import ragged

# A place whose loss does not count, by PyTorch's convention.
IGNORED = -100


class Targets(ABC):
    """Something for each of w sequences."""

    @abstractmethod
    def take(self, which: Int64Array) -> Self:
        """What belongs to some of the sequences, in the order of `which`: (m,) int64."""

    @property
    @abstractmethod
    def total(self) -> float:
        """What the summed loss is to be divided by."""


@dataclass(frozen=True)
class NoTargets(Targets):
    """Nothing: sequences to predict on."""

    def take(self, which: Int64Array) -> NoTargets:  # noqa: ARG002  (nothing of anything is nothing)
        """Nothing again."""
        return self

    @property
    def total(self) -> float:
        """Nothing to divide by."""
        return 0.0


@dataclass(frozen=True)
class LabelTargets(Targets):
    """A label for each sequence, to be told from its first token.

    labels: (w,) int64 classes, (w, classes) float32 zeros and ones where several may fit, or (w,) float32 numbers.
    weights: (w,) float32, `Windows.shares`: each record counts as one, however long, a window of it by its tokens, and
    no window needs to know where its fellows are. What is foretold of a record is the mean by the same weights.
    """

    labels: NDArray[np.int64] | NDArray[np.float32]
    weights: NDArray[np.float32]

    def take(self, which: Int64Array) -> LabelTargets:
        """The labels of some of the sequences."""
        return LabelTargets(self.labels[which], self.weights[which])

    @property
    def total(self) -> float:
        """Records, as the windows of each add up to one."""
        return float(self.weights.sum(dtype=np.float64))


@dataclass(frozen=True)
class WordTargets(Targets):
    """Tags for words, each to be told from the word's first token.

    count: (w,) int64, how many words are judged in each sequence; n in all.
    places: (n,) int64, where in its sequence the first token of each such word is.
    words: (n,) int64, the number of the word among the words of all records, one record after the other.
    labels: (n,) int64, IGNORED where there is none.
    """

    count: Int64Array
    places: Int64Array
    words: Int64Array
    labels: Int64Array

    def take(self, which: Int64Array) -> WordTargets:
        """The words of some of the sequences."""
        count = self.count[which]
        some = ragged((np.cumsum(self.count) - self.count)[which], count)
        return WordTargets(count, self.places[some], self.words[some], self.labels[some])

    @property
    def total(self) -> float:
        """Words with a label."""
        return float(np.count_nonzero(self.labels != IGNORED))

    def positions(self, first_positions: Int64Array) -> Int64Array:
        """The flat places of the words in a batch. first_positions: (w,) int64. Returns (n,) int64."""
        return np.repeat(first_positions, self.count) + self.places


@dataclass(frozen=True)
class SpanTargets(Targets):
    """The first and last token of the answer in each sequence.

    starts, ends: (w,) int64, places in the sequence; 0, the [CLS], where it holds no answer.
    weights: (w,) float32, 1, or 0 where nobody knows where the answer is. As in BERT's own code every window counts as
    one, so a long context weighs more than a short one.
    """

    starts: Int64Array
    ends: Int64Array
    weights: NDArray[np.float32]

    def take(self, which: Int64Array) -> SpanTargets:
        """The answers of some of the sequences."""
        return SpanTargets(self.starts[which], self.ends[which], self.weights[which])

    @property
    def total(self) -> float:
        """Sequences that count."""
        return float(self.weights.sum(dtype=np.float64))
