"""The loss of hidden words: the same words hidden in the same text for models of any vocabulary.

A model guesses all pieces of a hidden word at once, from the text around and the number of the word's pieces. What it
loses on a word is what it loses on the pieces together, in nats, so words compare where pieces do not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.data.plan import cut
from maskling.data.shards import Split
from maskling.evaluate.passages import Passage
from maskling.infer.reader import Reader
from maskling.infer.rows import Query, Row, log_probabilities
from maskling.objectives.measure import ranks
from maskling.randomness import Shuffle
from maskling.tokenizer.tokenizer import Tokenizer

# Passages that are measured before progress is shown again.
_AT_ONCE = 64


@dataclass(frozen=True)
class Laid:
    """A passage as a model reads it.

    ids: (n,) int64, [CLS] and [SEP] included; words: (w, 2) int64, the first token of each word and the one after its
    last, equal where the vocabulary cannot write the word.
    """

    ids: Int64Array
    words: Int64Array

    @property
    def writable(self) -> BoolArray:
        """(w,) bool, which words the vocabulary can write."""
        return self.words[:, 0] < self.words[:, 1]


@dataclass(frozen=True)
class Losses:
    """What a model lost on hidden words.

    nats, pieces: (words,) of each hidden word; top1, top5: (words,) bool, whether each of its pieces was the model's
    best guess, or among its best five.
    """

    nats: NDArray[np.float64]
    pieces: Int64Array
    top1: BoolArray
    top5: BoolArray


def lay_passages(passages: Sequence[Passage], tokenizer: Tokenizer) -> list[Laid]:
    """Passages as the models of a tokenizer read them. A token that belongs to two words is hidden with either."""
    laid = []
    cls, sep, unk = tokenizer.special.cls, tokenizer.special.sep, tokenizer.special.unk
    encoded = tokenizer.encode_with_offsets([one.text for one in passages])
    for passage, tokens in zip(passages, encoded, strict=True):
        ids, (begins, ends) = tokens.ids.astype(np.int64), passage.words.T
        # A token without any text ends where it begins; the running maximum keeps the order for the search.
        first = np.searchsorted(np.maximum.accumulate(tokens.ends), begins, side="right")
        last = np.maximum(first, np.searchsorted(tokens.begins, ends, side="left"))
        unknown = np.append(0, np.cumsum(ids == unk))
        last = np.where(unknown[last] > unknown[first], first, last)
        laid.append(Laid(np.concatenate([[cls], ids, [sep]]), np.stack([first, last], axis=1) + 1))
    return laid


def lay_split(split: Split, tokenizer: Tokenizer, length: int, count: int) -> list[Laid]:
    """`count` spans of text that is prepared, drawn evenly, as sequences of at most `length` tokens."""
    plan = cut(split, length - 2)
    drawn = np.sort(Shuffle(len(plan), 0, "passages")[np.arange(min(count, len(plan)))])
    tokens, starts = split.gather(plan.start[drawn], plan.length[drawn])
    special = tokenizer.special
    ordinary = np.zeros(tokenizer.vocab_size, dtype=bool)
    ordinary[tokenizer.ordinary_ids] = True
    laid = []
    bounds = np.cumsum(plan.length[drawn])[:-1]
    for ids, begins in zip(np.split(tokens.astype(np.int64), bounds), np.split(starts, bounds), strict=True):
        first = np.union1d([0], np.flatnonzero(begins))
        last = np.append(first[1:], len(ids))
        unknown = np.append(0, np.cumsum(~ordinary[ids]))
        last = np.where(unknown[last] > unknown[first], first, last)
        laid.append(Laid(np.concatenate([[special.cls], ids, [special.sep]]), np.stack([first, last], axis=1) + 1))
    return laid


class HiddenWords:
    """A model being asked for hidden words."""

    def __init__(self, reader: Reader, laid: Sequence[Laid], hidden: Sequence[BoolArray]) -> None:
        """hidden: (w,) bool for each passage, which words are hidden."""
        reader.need_head("comparing")
        self._reader = reader
        self._laid, self._hidden = laid, hidden
        self._words = [one.words[which] for one, which in zip(laid, hidden, strict=True)]
        # All hidden pieces end to end, in the order of the text, and where those of each passage begin.
        bounds = np.cumsum([0, *(int((words[:, 1] - words[:, 0]).sum()) for words in self._words)])
        self._bounds = bounds
        self._nats = np.full(bounds[-1], np.nan)
        self._rank = np.zeros(bounds[-1], dtype=np.int64)

    def run(self) -> Iterator[float]:
        """Ask, and yield the part that is done, from 0 to 1, now and then."""
        # Passages of about one length run together without much padding; those without a hidden word are passed over.
        order = sorted(np.flatnonzero(np.diff(self._bounds)).tolist(), key=lambda number: -len(self._laid[number].ids))
        for start in range(0, len(order), _AT_ONCE):
            numbers = order[start : start + _AT_ONCE]
            self._ask(numbers)
            yield (start + len(numbers)) / len(order)

    def losses(self) -> Losses:
        """What was lost on each hidden word, in the order of the text; once `run` has ended."""
        words = np.concatenate(self._words)
        pieces = words[:, 1] - words[:, 0]
        starts = np.append(0, np.cumsum(pieces)[:-1])
        rank = np.maximum.reduceat(self._rank, starts)
        return Losses(np.add.reduceat(self._nats, starts), pieces, rank < 1, rank < 5)

    def _ask(self, numbers: Sequence[int]) -> None:
        reader, special = self._reader, self._reader.tokenizer.special
        rows: list[Row] = []
        queries: list[Query] = []
        for row, number in enumerate(numbers):
            places = np.concatenate([np.arange(first, last) for first, last in self._words[number].tolist()])
            queries += [Query(row, place) for place in places.tolist()]
            rows.append(self._laid[number].ids.copy())
            rows[-1][places] = special.mask
        labels = torch.tensor([int(self._laid[numbers[query.row]].ids[query.position]) for query in queries])
        slots = np.concatenate([np.arange(self._bounds[number], self._bounds[number + 1]) for number in numbers])
        for some, scores in log_probabilities(reader.module, reader.compute, rows, queries, special.pad):
            own = labels[some].to(scores.device)
            self._nats[slots[some]] = -scores.gather(1, own[:, None])[:, 0].cpu().double().numpy()
            self._rank[slots[some]] = ranks(scores, own).cpu().numpy()
