"""Entropy of counts and perplexity of a loss, in nats."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def entropy(counts: NDArray[np.int64]) -> float:
    """Return the entropy in nats of the distribution of counts: the loss of predicting frequencies alone.

    counts: (n,) int64.
    """
    shares = counts[counts > 0] / counts.sum()
    return math.fsum(-shares * np.log(shares))


def perplexity(loss: float) -> float:
    """Return exp of a loss in nats, infinity if that is too large for a float."""
    return math.exp(loss) if loss < 700 else math.inf
