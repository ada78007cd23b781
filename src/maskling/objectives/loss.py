"""A loss as a sum and a count, divided once, at the very end.

A mean of means is wrong as soon as two micro-batches, or two ranks, predict different numbers of tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Term:
    """One part of a loss. sum: () fp32, added over predictions, differentiable; count: of those predictions."""

    sum: Tensor
    count: int


def weighted(terms: Mapping[str, Term], counts: Mapping[str, int], weights: Mapping[str, float]) -> Tensor:
    """What to call backward on for one micro-batch: sum of weight * term.sum / count of the WHOLE batch.

    counts: predictions of each term over all micro-batches and ranks, so that the gradients simply add up. A term whose
    count is 0 has nothing to say anywhere and is left out.
    """
    parts = [weights.get(name, 1.0) / counts[name] * term.sum for name, term in terms.items() if counts[name]]
    return torch.stack(parts).sum()
