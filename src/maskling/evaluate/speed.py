"""How fast models read, on this machine, now."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from maskling.infer.reader import Reader
from maskling.infer.rows import Row, batches, encode, usual_batch_tokens

ROUNDS = 5
# Texts that are read in a round.
TEXTS = 64


@dataclass(frozen=True)
class Speed:
    """Medians over rounds. A token is a different piece of text in each vocabulary; texts compare."""

    tokens_per_second: float
    texts_per_second: float


class Race:
    """Models reading the same texts in turns, so that whatever else the machine does falls on all alike."""

    def __init__(self, readers: Sequence[Reader], rows: Sequence[Sequence[Row]], rounds: int = ROUNDS) -> None:
        """rows: for each model the texts as its ids, special tokens included."""
        self._readers, self._rows, self._rounds = readers, [own[:TEXTS] for own in rows], rounds
        self._seconds: list[list[float]] = [[] for _ in readers]

    def run(self) -> Iterator[float]:
        """Read, and yield the part that is done, from 0 to 1."""
        turns = self._rounds + 1
        for turn in range(turns):
            for place, (reader, rows) in enumerate(zip(self._readers, self._rows, strict=True)):
                seconds = _seconds(reader, rows)
                if turn:  # the first is to warm up
                    self._seconds[place].append(seconds)
                yield (turn * len(self._readers) + place + 1) / (turns * len(self._readers))

    def speeds(self) -> list[Speed]:
        """The speed of each model; once `run` has ended."""
        medians = map(statistics.median, self._seconds)
        return [
            Speed(sum(map(len, rows)) / seconds, len(rows) / seconds)
            for rows, seconds in zip(self._rows, medians, strict=True)
        ]


def _seconds(reader: Reader, rows: Sequence[Row]) -> float:
    begin = time.perf_counter()
    for together in batches([len(row) for row in rows], usual_batch_tokens(reader.compute)):
        hidden, _ = encode(reader.module, reader.compute, [rows[row] for row in together], reader.tokenizer.special.pad)
        hidden[0, 0, 0].item()  # a GPU is done only when asked
    return max(time.perf_counter() - begin, 1e-9)
