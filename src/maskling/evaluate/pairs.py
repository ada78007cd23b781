"""Minimal pairs: how often a model finds the right sentence of two the likelier one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.evaluate.pair_files import MinimalPair
from maskling.infer.likelihood import Scoring
from maskling.infer.masked_copies import Method
from maskling.infer.reader import Reader


@dataclass(frozen=True)
class Paradigm:
    """What came out of the pairs of one kind. accuracy: the fraction judged rightly, a tie counting one half."""

    name: str
    field: str
    pairs: int
    ties: int
    accuracy: float


@dataclass(frozen=True)
class Field:
    """A group of paradigms. accuracy: the mean of theirs."""

    name: str
    paradigms: int
    pairs: int
    ties: int
    accuracy: float


@dataclass(frozen=True)
class PairResults:
    """What came out of minimal pairs, by paradigm in the order of the files."""

    paradigms: tuple[Paradigm, ...]

    @property
    def macro_average(self) -> float:
        """The mean of the paradigms' accuracies: the number that BLiMP is known by."""
        return _mean(self.paradigms)

    @property
    def pairs(self) -> int:
        """How many pairs there were."""
        return sum(paradigm.pairs for paradigm in self.paradigms)

    @property
    def ties(self) -> int:
        """How many pairs got equal scores."""
        return sum(paradigm.ties for paradigm in self.paradigms)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The paradigms by field, in the order of the fields' names; paradigms without one are left out."""
        names = sorted({paradigm.field for paradigm in self.paradigms if paradigm.field})
        groups = {name: [paradigm for paradigm in self.paradigms if paradigm.field == name] for name in names}
        return tuple(
            Field(name, len(group), sum(one.pairs for one in group), sum(one.ties for one in group), _mean(group))
            for name, group in groups.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "macro_average": self.macro_average,
            "pairs": self.pairs,
            "ties": self.ties,
            "fields": [asdict(field) for field in self.fields],
            "paradigms": [asdict(paradigm) for paradigm in self.paradigms],
        }


def judge(pairs: Sequence[MinimalPair], good: NDArray[np.float64], bad: NDArray[np.float64]) -> PairResults:
    """Compare scores, the higher one winning.

    A tie counts one half: whoever gives every sentence the same score is at chance, 0.5. (Taking the larger of two
    equal numbers by its place, as some scripts do, gives such a scorer everything.)
    good, bad: (pairs,) float64, the score of each sentence.
    """
    points = (good > bad) + 0.5 * (good == bad)
    numbers: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(pairs):
        numbers.setdefault((pair.paradigm, pair.field), []).append(number)
    return PairResults(
        tuple(
            Paradigm(name, field, len(own), int((good == bad)[own].sum()), float(points[own].mean()))
            for (name, field), own in numbers.items()
        )
    )


class PairScoring:
    """Pairs being judged by the pseudo-log-likelihood of their sentences (see `Scoring`), not divided by length."""

    def __init__(
        self,
        reader: Reader,
        pairs: Sequence[MinimalPair],
        *,
        method: Method = "original",
        batch_tokens: int | None = None,
    ) -> None:
        self._pairs = pairs
        sentences = [pair.good for pair in pairs] + [pair.bad for pair in pairs]
        self._scoring = Scoring(reader, sentences, method=method, batch_tokens=batch_tokens)

    def run(self) -> Iterator[float]:
        """Score, and yield the part that is done, from 0 to 1, after each batch."""
        return self._scoring.run()

    def results(self) -> PairResults:
        """What came out; once `run` has ended."""
        good, bad = np.split(self._scoring.totals(), 2)
        return judge(self._pairs, good, bad)


def evaluate_pairs(reader: Reader, pairs: Sequence[MinimalPair], *, method: Method = "original") -> PairResults:
    """Judge pairs in one go."""
    scoring = PairScoring(reader, pairs, method=method)
    for _ in scoring.run():
        pass
    return scoring.results()


def _mean(found: Sequence[Paradigm]) -> float:
    return float(np.mean([paradigm.accuracy for paradigm in found])) if found else float("nan")
