"""How likely each candidate is in each open slot: any token, or words of a given list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from maskling.infer.rows import Query, Row, log_probabilities
from maskling.infer.slots import Pieces, Slots
from maskling.model.device import Compute
from maskling.model.masked_lm import MaskedLM

Scored = list[tuple[Pieces, float]]


class Scorer(Protocol):
    """Scores candidates for the open slots of texts."""

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """For each text, for each of its open slots: the `width` best candidates with log-probabilities, best first."""
        ...


class TokenScorer:
    """Every token of a set is a candidate; its probability is the model's, over the whole vocabulary.

    spaced, tight: (candidates,) ids that may follow a space, and those that may follow anything else.
    """

    def __init__(
        self, module: MaskedLM, compute: Compute, pad: int, spaced: NDArray[np.int64], tight: NDArray[np.int64]
    ) -> None:
        self._module, self._compute, self._pad = module, compute, pad
        self._spaced, self._tight = torch.from_numpy(spaced), torch.from_numpy(tight)

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """See Scorer."""
        queries = [Query(row, position) for row, state in enumerate(states) for _, position in state.open]
        spaced = [state.spaced[slot] for state in states for slot, _ in state.open]
        found: list[Scored] = [[] for _ in queries]
        rows = [state.ids for state in states]
        for numbers, scores in log_probabilities(self._module, self._compute, rows, queries, self._pad):
            for number, row in zip(numbers, scores, strict=True):
                ids = (self._spaced if spaced[number] else self._tight).to(row.device)
                best = row[ids].topk(min(width, len(ids)))
                found[number] = [
                    ((token,), score)
                    for token, score in zip(ids[best.indices].tolist(), best.values.tolist(), strict=True)
                ]
        answers = iter(found)
        return [[next(answers) for _ in state.open] for state in states]


class TargetScorer:
    """The candidates are given words, of one piece or more.

    A word of k pieces is scored in the text with k masks in its slot: the product over its pieces, from left to
    right, of the probability of a piece given those before it and masks for those after it (the order of Kauf and
    Ivanova 2023, PLL-word-l2r). Each such product is a probability given the number of pieces, and all numbers are
    taken as equally likely; so words of different lengths are compared by the product itself, not by a mean over
    pieces, which would favour long words, whose last pieces are nearly certain.

    spaced, tight: the pieces of each word after a space, and after anything else.
    """

    def __init__(
        self, module: MaskedLM, compute: Compute, mask: int, pad: int, spaced: Sequence[Pieces], tight: Sequence[Pieces]
    ) -> None:
        self._module, self._compute, self._mask, self._pad = module, compute, mask, pad
        self._spaced, self._tight = list(dict.fromkeys(spaced)), list(dict.fromkeys(tight))

    def __call__(self, states: Sequence[Slots], width: int) -> list[list[Scored]]:
        """See Scorer."""
        rows = _Rows()
        wanted: dict[Query, list[_Wanted]] = {}
        totals: list[NDArray[np.float64]] = []
        for state in states:
            for slot, position in state.open:
                words = self._words(state, slot)
                # Words of one length that begin alike are asked about in the same row.
                asked: dict[tuple[int, Pieces], Query] = {}
                for word, pieces in enumerate(words):
                    for done in range(len(pieces)):
                        begun = (len(pieces), pieces[:done])
                        if begun not in asked:
                            hidden = (self._mask,) * (len(pieces) - done)
                            asked[begun] = Query(
                                rows.add(state.put(slot, (*pieces[:done], *hidden)).ids), position + done
                            )
                        wanted.setdefault(asked[begun], []).append(_Wanted(len(totals), word, pieces[done]))
                totals.append(np.zeros(len(words)))
        self._add_up(rows.rows, wanted, totals)
        answers = iter(totals)
        return [[_best(self._words(state, slot), next(answers), width) for slot, _ in state.open] for state in states]

    def _words(self, state: Slots, slot: int) -> list[Pieces]:
        return self._spaced if state.spaced[slot] else self._tight

    def _add_up(self, rows: list[Row], wanted: dict[Query, list[_Wanted]], totals: list[NDArray[np.float64]]) -> None:
        queries = list(wanted)
        for numbers, scores in log_probabilities(self._module, self._compute, rows, queries, self._pad):
            for number, row in zip(numbers, scores, strict=True):
                here = wanted[queries[number]]
                pieces = torch.tensor([one.piece for one in here], device=row.device)
                for one, value in zip(here, row[pieces].tolist(), strict=True):
                    totals[one.total][one.word] += value


@dataclass(frozen=True)
class _Wanted:
    """The probability of `piece` belongs to word `word` of list `total`."""

    total: int
    word: int
    piece: int


class _Rows:
    """Sequences to run, each once."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._numbers: dict[bytes, int] = {}

    def add(self, row: Row) -> int:
        """The number of a sequence, which is kept if it is new."""
        number = self._numbers.setdefault(row.tobytes(), len(self.rows))
        if number == len(self.rows):
            self.rows.append(row)
        return number


def _best(words: list[Pieces], totals: NDArray[np.float64], width: int) -> Scored:
    order = np.argsort(-totals, kind="stable")[:width]
    return [(words[index], float(totals[index])) for index in order]
