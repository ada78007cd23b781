"""What `predict` answers, for people and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


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
