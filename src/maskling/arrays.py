"""Type aliases for numpy arrays whose dtype is part of a function's contract, and offsets of concatenated arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

BoolArray = NDArray[np.bool_]
Int64Array = NDArray[np.int64]
UInt64Array = NDArray[np.uint64]


def offsets_of(lengths: ArrayLike) -> Int64Array:
    """Return the start of each of several concatenated pieces, and the end of the last one.

    lengths: (n,) integers. Returns (n + 1,) int64: piece i is [offsets[i], offsets[i + 1]).
    """
    offsets = np.zeros(np.shape(lengths)[0] + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
