"""What `fill` answers: words with probabilities, for people and as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from maskling.infer.masks import word_of
from maskling.metrics import entropy
from maskling.tokenizer.tokenizer import Tokenizer

# FOLDED DOCS
# [predictions] What `predict` answers, for people and as plain data.
# [scored_text] What `score` answers: how likely a text is, by tokens and by words.


@dataclass(frozen=True)
class Filled:
    """A candidate for one mask.

    word: as a person reads it; tokens, ids: its pieces in the vocabulary; text: the whole text with the word in
    place and other masks left open.
    """

    word: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    probability: float
    text: str

    @property
    def token(self) -> str:
        """Its pieces as the vocabulary writes them, side by side."""
        return " ".join(self.tokens)

    @property
    def id(self) -> int:
        """The id of its first piece."""
        return self.ids[0]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "word": self.word,
            "tokens": list(self.tokens),
            "ids": list(self.ids),
            "probability": self.probability,
            "text": self.text,
        }


@dataclass(frozen=True)
class FilledMasks(Sequence[tuple[Filled, ...]]):
    """One text, each mask by itself: answer[i] holds the candidates for mask i, best first.

    cut: the text was longer than the model can see, and what was farthest from the masks was left out.
    """

    text: str
    masks: tuple[tuple[Filled, ...], ...]
    cut: bool = False

    @overload
    def __getitem__(self, index: int) -> tuple[Filled, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[Filled, ...], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """The candidates for one mask."""
        return self.masks[index]

    def __len__(self) -> int:
        """Number of masks."""
        return len(self.masks)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        masks = [[candidate.as_dict() for candidate in mask] for mask in self.masks]
        return {"text": self.text, "masks": masks, "cut": self.cut}

    def rows(self) -> list[list[str]]:
        """A table for a person: mask (where there are several), probability, word, text."""
        return [
            [*([f"mask {number}"] if len(self.masks) > 1 else []), _shown(one.probability), one.word, one.text]
            for number, mask in enumerate(self.masks, 1)
            for one in mask
        ]


@dataclass(frozen=True)
class Together:
    """One way to fill all masks of a text, and how likely it is as a whole."""

    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    probability: float
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "words": list(self.words),
            "ids": [list(pieces) for pieces in self.ids],
            "probability": self.probability,
            "text": self.text,
        }


@dataclass(frozen=True)
class FilledTogether(Sequence[Together]):
    """One text, all masks at once: answer[i] is the i-th best way to fill them."""

    text: str
    fillings: tuple[Together, ...]
    cut: bool = False

    @overload
    def __getitem__(self, index: int) -> Together: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Together, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """One way to fill the text."""
        return self.fillings[index]

    def __len__(self) -> int:
        """Number of fillings."""
        return len(self.fillings)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"text": self.text, "together": [one.as_dict() for one in self.fillings], "cut": self.cut}

    def rows(self) -> list[list[str]]:
        """A table for a person: probability, words, text."""
        return [[_shown(one.probability), " ".join(one.words), one.text] for one in self.fillings]


def _shown(probability: float) -> str:
    """Four digits after the point, or the magnitude of what would be 0.0000."""
    return f"{probability:.4f}" if probability >= 0.00005 else f"{probability:.0e}"


@dataclass(frozen=True)
class Label:
    """The one label of a text or a pair. score: its probability; scores: that of every label, best first."""

    label: str
    score: float
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return vars(self)

    def cells(self) -> list[str]:
        """The columns of a line for people."""
        return [self.label, f"{self.score:.4f}"]


@dataclass(frozen=True)
class Labels:
    """The labels of a text that may have several, best first: those whose own probability reaches the threshold."""

    labels: tuple[str, ...]
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return vars(self)

    def cells(self) -> list[str]:
        """The columns of a line for people."""
        return [", ".join(self.labels), ", ".join(f"{self.scores[label]:.4f}" for label in self.labels)]


class Number(float):
    """A number for a text or a pair: a float that knows how it is shown."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"number": float(self)}

    def cells(self) -> list[str]:
        """The columns of a line for people."""
        return [f"{self:.4f}"]


@dataclass(frozen=True)
class Word:
    """A word with its tag. start, end: its characters in the text; score: the tag's probability."""

    text: str
    tag: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Entity:
    """Words that belong together. type: of their tags, without B- or I-; score: the mean of theirs."""

    text: str
    type: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Tagged:
    """A sentence with its tags. text: what places count in; where words were given, they are joined to one."""

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each word."""
        return tuple(word.tag for word in self.words)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def cells(self) -> list[str]:
        """The columns of a line for people: each word with its tag."""
        return [" ".join(f"{word.text}/{word.tag}" for word in self.words)]


@dataclass(frozen=True)
class Span:
    """A piece of a context. start, end: its characters there; score: the probability of its first and last token."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Answered(Span):
    """The answer to a question, empty where the model was allowed to find none and did.

    no_answer: the probability that the context has none. best: the best answers, this one the first of them unless it
    is empty.
    """

    no_answer: float = 0.0
    best: tuple[Span, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def cells(self) -> list[str]:
        """The columns of a line for people."""
        return [self.text, f"{self.score:.4f}", f"{self.start}-{self.end}"]


Prediction = Label | Labels | Number | Tagged | Answered


@dataclass(frozen=True)
class Predicted:
    """predictions: in the order of what was asked; cut: how many of those were too long and lost their end."""

    predictions: Sequence[Prediction]
    cut: int = 0


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
    return entropy.perplexity(-sum(score.total for score in known) / tokens) if tokens else math.nan


def word_perplexity(scores: Iterable[ScoredText]) -> float:
    """The same over the number of words, which compares between vocabularies (best with within-word-l2r)."""
    known = list(scores)
    words = sum(score.num_words for score in known)
    return entropy.perplexity(-sum(score.total for score in known) / words) if words else math.nan
