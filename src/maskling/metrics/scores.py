"""Precision, recall and F1, from counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scores:
    """precision, recall, f1: 0 where they would be 0 / 0. support: how many there are to be found."""

    precision: float
    recall: float
    f1: float
    support: int

    @classmethod
    def of(cls, right: int, guessed: int, support: int) -> Scores:
        """right: found and true; guessed: found; support: true."""
        precision = right / guessed if guessed else 0.0
        recall = right / support if support else 0.0
        return cls(precision, recall, 2 * right / (guessed + support) if guessed + support else 0.0, support)
