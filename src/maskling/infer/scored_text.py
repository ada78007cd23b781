"""What `score` answers: how likely a text is, by tokens and by words."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maskling.infer.slots import word_of
from maskling.metrics import nats
from maskling.tokenizer.tokenizer import Tokenizer

Per = Literal["text", "word", "token"]


class ScoredPiece(NamedTuple):
    """A token or a word of a text, and the natural logarithm of its probability."""

    text: str
    log_probability: float


@dataclass(frozen=True)
class ScoredText:
    """A text with the log-probability of each of its tokens.

    ids: (n,) int32; word_starts: (n,) bool; log_probabilities: (n,) float64, natural logarithms; windows: whether the
    text was longer than the model sees, so that each token was scored in the stretch around it.
    """

    text: str
    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    log_probabilities: NDArray[np.float64]
    tokenizer: Tokenizer = field(repr=False)
    windows: bool = False

    @cached_property
    def total(self) -> float:
        """The pseudo-log-likelihood: the sum over all tokens, 0 if there are none."""
        return float(self.log_probabilities.sum())

    @cached_property
    def tokens(self) -> tuple[ScoredPiece, ...]:
        """Each token as the vocabulary spells it."""
        spelled = map(self.tokenizer.token, self.ids.tolist())
        return tuple(map(ScoredPiece, spelled, self.log_probabilities.tolist()))

    @cached_property
    def words(self) -> tuple[ScoredPiece, ...]:
        """Each word as a person reads it, with the sum over its tokens."""
        starts = self.word_starts.copy()
        starts[:1] = True
        firsts = np.flatnonzero(starts)
        if not len(firsts):
            return ()
        sums = np.add.reduceat(self.log_probabilities, firsts).tolist()
        spelled = [word_of(pieces.tolist(), self.tokenizer) for pieces in np.split(self.ids, firsts[1:])]
        return tuple(map(ScoredPiece, spelled, sums))

    @property
    def num_words(self) -> int:
        """How many words it has."""
        return int(np.count_nonzero(self.word_starts[1:])) + bool(len(self.ids))

    @property
    def unknown(self) -> int:
        """How many tokens are [UNK]: what stands there was not scored, only that it is unknown."""
        return int(np.count_nonzero(self.ids == self.tokenizer.special.unk))

    @property
    def perplexity(self) -> float:
        """Of a token: exp of minus the mean log-probability; not a number for a text without tokens."""
        return perplexity([self])

    def as_dict(self, per: Per = "text") -> dict[str, Any]:
        """Plain data for JSON. per: also list the tokens, or the words."""
        found: dict[str, Any] = {"text": self.text, "total": self.total, "num_tokens": len(self.ids)}
        found |= {"perplexity": self.perplexity, "unknown": self.unknown, "windows": self.windows}
        if per != "text":
            pieces = self.tokens if per == "token" else self.words
            found[f"{per}s"] = [{per: piece.text, "log_probability": piece.log_probability} for piece in pieces]
        return found


def perplexity(scores: Iterable[ScoredText]) -> float:
    """The pseudo-perplexity of a corpus: exp(-sum of totals / number of tokens) (Salazar et al. 2020, section 2.3).

    It compares models of one vocabulary only. Not a number where there are no tokens.
    """
    known = list(scores)
    tokens = sum(len(score.ids) for score in known)
    return nats.perplexity(-sum(score.total for score in known) / tokens) if tokens else math.nan


def word_perplexity(scores: Iterable[ScoredText]) -> float:
    """The same over the number of words, which compares between vocabularies (best with within-word-l2r)."""
    known = list(scores)
    words = sum(score.num_words for score in known)
    return nats.perplexity(-sum(score.total for score in known) / words) if words else math.nan
