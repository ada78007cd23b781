"""What `fill` answers: words with probabilities, for people and as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload


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
