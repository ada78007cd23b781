"""Results of filling masks and of fine-tuned models.

Every result has `as_dict`, plain data for JSON, and rows or cells of a table for display; `names` are those of cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, overload

from maskling.drawing import bars, box, marked, text_line

# Results of `fill`.


@dataclass(frozen=True)
class Filled:
    """A candidate for one mask.

    word: readable text; tokens, ids: its pieces in the vocabulary; text: the whole text with the word filled in and
    the other masks left open.
    """

    word: str
    tokens: tuple[str, ...]
    ids: tuple[int, ...]
    probability: float
    text: str

    @property
    def token(self) -> str:
        """The pieces as the vocabulary writes them, joined by spaces."""
        return " ".join(self.tokens)

    @property
    def id(self) -> int:
        """The id of the first piece."""
        return self.ids[0]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "word": self.word,
            "tokens": list(self.tokens),
            "ids": list(self.ids),
            "probability": self.probability,
            "text": self.text,
        }


@dataclass(frozen=True)
class FilledMasks(Sequence[tuple[Filled, ...]]):
    """One text, each mask filled independently: result[i] holds the candidates for mask i, best first.

    cut: the text was longer than the model reads and was truncated to the tokens nearest to its masks.
    """

    text: str
    masks: tuple[tuple[Filled, ...], ...]
    cut: bool = False

    @overload
    def __getitem__(self, index: int) -> tuple[Filled, ...]: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[tuple[Filled, ...], ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return the candidates for one mask."""
        return self.masks[index]

    def __len__(self) -> int:
        """Return the number of masks."""
        return len(self.masks)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        masks = [[candidate.as_dict() for candidate in mask] for mask in self.masks]
        return {"text": self.text, "masks": masks, "cut": self.cut}

    def rows(self) -> list[list[str]]:
        """Return a table for display: mask (if there are several), probability, word, text."""
        return [
            [*([f"mask {index}"] if len(self.masks) > 1 else []), _shown(one.probability), one.word, one.text]
            for index, mask in enumerate(self.masks, 1)
            for one in mask
        ]

    def _repr_html_(self) -> str:
        parts = [text_line(self.text)]
        for index, mask in enumerate(self.masks, 1):
            parts += [text_line(f"mask {index}", heading=True)] * (len(self.masks) > 1)
            parts.append(bars((one.word, one.probability, _shown(one.probability)) for one in mask))
        return box(*parts, note=_CUT * self.cut or "no masks" * (not self.masks))


@dataclass(frozen=True)
class Together:
    """One joint filling of all masks of a text, with its joint probability."""

    words: tuple[str, ...]
    ids: tuple[tuple[int, ...], ...]
    probability: float
    text: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "words": list(self.words),
            "ids": [list(pieces) for pieces in self.ids],
            "probability": self.probability,
            "text": self.text,
        }


@dataclass(frozen=True)
class FilledTogether(Sequence[Together]):
    """One text, all masks filled jointly: result[i] is the i-th best filling."""

    text: str
    fillings: tuple[Together, ...]
    cut: bool = False

    @overload
    def __getitem__(self, index: int) -> Together: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Together, ...]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return one filling."""
        return self.fillings[index]

    def __len__(self) -> int:
        """Return the number of fillings."""
        return len(self.fillings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"text": self.text, "together": [one.as_dict() for one in self.fillings], "cut": self.cut}

    def rows(self) -> list[list[str]]:
        """Return a table for display: probability, words, text."""
        return [[_shown(one.probability), " ".join(one.words), one.text] for one in self.fillings]

    def _repr_html_(self) -> str:
        rows = [(one.text, one.probability, _shown(one.probability)) for one in self.fillings]
        return box(text_line(self.text), bars(rows), note=_CUT * self.cut or "no fillings" * (not rows))


_CUT = "The text was longer than the model reads; the tokens farthest from its masks were cut."


def _shown(probability: float) -> str:
    """Return a probability with four decimals, or its order of magnitude where that would be 0.0000."""
    return f"{probability:.4f}" if probability >= 0.00005 else f"{probability:.0e}"


# Results of `predict`.
@dataclass(frozen=True)
class Label:
    """The label of a text or a pair. score: its probability; scores: the probability of every label, best first."""

    names: ClassVar[tuple[str, ...]] = ("prediction", "score")

    label: str
    score: float
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return vars(self)

    def cells(self) -> list[str]:
        """Return the columns of a line for display."""
        return [self.label, f"{self.score:.4f}"]

    def _repr_html_(self) -> str:
        return box(bars((label, score, f"{score:.4f}") for label, score in self.scores.items()))


@dataclass(frozen=True)
class Labels:
    """The labels of a multi-label text, best first: those whose own probability reaches the threshold."""

    names: ClassVar[tuple[str, ...]] = ("prediction", "scores")

    labels: tuple[str, ...]
    scores: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return vars(self)

    def cells(self) -> list[str]:
        """Return the columns of a line for display."""
        return [", ".join(self.labels), ", ".join(f"{self.scores[label]:.4f}" for label in self.labels)]

    def _repr_html_(self) -> str:
        rows = [
            (f"{label} ✓" if label in self.labels else label, score, f"{score:.4f}")
            for label, score in self.scores.items()
        ]
        return box(bars(rows), note="" if self.labels else "No label reaches the threshold.")


class Number(float):
    """The number predicted for a text or a pair: a float with `as_dict` and `cells`."""

    names: ClassVar[tuple[str, ...]] = ("prediction",)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {"number": float(self)}

    def cells(self) -> list[str]:
        """Return the columns of a line for display."""
        return [f"{self:.4f}"]


@dataclass(frozen=True)
class Word:
    """A word with its tag. start, end: character offsets in the text; score: the probability of the tag."""

    text: str
    tag: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Entity:
    """A named entity. type: that of its tags, without B- or I-; score: the mean score of its words."""

    text: str
    type: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Tagged:
    """A sentence with its tags. text: the text that offsets refer to; for input given as words, the words joined."""

    names: ClassVar[tuple[str, ...]] = ("prediction",)

    text: str
    words: tuple[Word, ...]
    entities: tuple[Entity, ...] = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each word, in order."""
        return tuple(word.tag for word in self.words)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    def cells(self) -> list[str]:
        """Return the columns of a line for display: each word with its tag."""
        return [" ".join(f"{word.text}/{word.tag}" for word in self.words)]

    def _repr_html_(self) -> str:
        """Mark the entities, or every word if the tags are not those of entities."""
        spans = [(one.start, one.end, one.type) for one in self.entities]
        if not spans:
            spans = [(word.start, word.end, word.tag) for word in self.words if word.tag != "O"]
        return box(marked(self.text, spans), note="" if spans else "no entities found" if self.words else "no words")


@dataclass(frozen=True)
class Span:
    """A span of a context. start, end: character offsets; score: the probability of its first and last token."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Answered(Span):
    """The answer to a question; empty if the model may find no answer and found none.

    no_answer: the probability that the context has no answer. best: the best answers; this one is the first of them
    unless it is empty.
    """

    names: ClassVar[tuple[str, ...]] = ("prediction", "score", "place")

    no_answer: float = 0.0
    best: tuple[Span, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    def cells(self) -> list[str]:
        """Return the columns of a line for display."""
        return [self.text, f"{self.score:.4f}", f"{self.start}-{self.end}"]

    def _repr_html_(self) -> str:
        rows = [(one.text, one.score, f"{one.score:.4f}") for one in self.best]
        none = [("no answer", self.no_answer, f"{self.no_answer:.4f}")] if self.no_answer or not rows else []
        return box(text_line(self.text or "no answer"), bars([*none, *rows] if not self.text else [*rows, *none]))


Prediction = Label | Labels | Number | Tagged | Answered


@dataclass(frozen=True)
class Predicted:
    """predictions: one per input, in order; cut: the number of inputs that were truncated."""

    predictions: Sequence[Prediction]
    cut: int = 0
