"""Natural logarithms of probabilities, summed up: the entropy of counts, the perplexity of a loss."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def entropy(counts: NDArray[np.int64]) -> float:
    """Nats, of the distribution that counts show: the loss of knowing how often each thing occurs and nothing else.

    counts: (n,) int64, of each thing.
    """
    shares = counts[counts > 0] / counts.sum()
    return math.fsum(-shares * np.log(shares))


def perplexity(loss: float) -> float:
    """exp of a loss in nats, infinite where that is too large for a float."""
    return math.exp(loss) if loss < 700 else math.inf
