"""Words that a tokenizer cuts into pieces: how often each occurs in a text, and what one token for it would save."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from maskling.tokenizer.encoded import Encoded
from maskling.tokenizer.tokenizer import Tokenizer

Run = tuple[int, ...]

# Distinct words in pieces that are remembered; beyond them the rarest are forgotten. About 300 MB.
_MOST_RUNS: Final = 2_000_000


@dataclass
class Fragments:
    """What the words of a text are cut into.

    runs: how often each sequence of two or more tokens spells a word; token_counts: (vocab_size,) int64, how often
    each token occurs.
    """

    token_counts: NDArray[np.int64]
    runs: Counter[Run] = field(default_factory=Counter)

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole text."""
        return int(self.token_counts.sum())

    def by_saving(self, min_count: int) -> Iterator[tuple[Run, int]]:
        """The runs that occur `min_count` times, those first whose being one token would save the most tokens."""
        often = [(run, count) for run, count in self.runs.items() if count >= min_count]
        yield from sorted(often, key=lambda item: (-item[1] * (len(item[0]) - 1), item[0]))


def count_fragments(tokenizer: Tokenizer, batches: Iterable[list[str]], most: int = _MOST_RUNS) -> Fragments:
    """Count the words of texts that take more than one token. most: distinct ones to remember."""
    found = Fragments(np.zeros(tokenizer.vocab_size, dtype=np.int64))
    for texts in batches:
        encoded = tokenizer.encode_flat(texts)
        found.token_counts += np.bincount(encoded.ids, minlength=tokenizer.vocab_size)
        found.runs.update(_runs(encoded))
        rarest = 1
        while len(found.runs) > most:
            found.runs = Counter({run: count for run, count in found.runs.items() if count > rarest})
            rarest += 1
    return found


def _runs(encoded: Encoded) -> Iterator[Run]:
    starts = encoded.word_starts.copy()
    firsts = encoded.offsets[:-1][np.diff(encoded.offsets) > 0]
    starts[firsts] = True
    begins = np.flatnonzero(starts)
    ends = np.append(begins[1:], len(encoded.ids))
    several = ends - begins > 1
    ids = encoded.ids.tolist()
    for begin, end in zip(begins[several].tolist(), ends[several].tolist(), strict=True):
        yield tuple(ids[begin:end])
