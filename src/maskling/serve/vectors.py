"""Vectors of fewer numbers than the model has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from maskling.errors import SettingsError

Float32Array = NDArray[np.float32]


def resized(vectors: Sequence[Float32Array], dimensions: int | None, normalize: bool) -> list[Float32Array]:
    """Return the first numbers of each vector, as truncate_dim of SentenceTransformer and OpenAI's dimensions do.

    normalize: scale the shorter vectors to length 1 again. Raises SettingsError for more numbers than there are.
    """
    size = len(vectors[0])
    if dimensions is None or dimensions == size:
        return list(vectors)
    if not 1 <= dimensions <= size:
        raise SettingsError(f"dimensions is {dimensions:,}; the vectors of this model have {size:,}")
    short = [vector[:dimensions] for vector in vectors]
    if normalize:
        short = [vector / max(float(np.linalg.norm(vector)), 1e-12) for vector in short]
    return [np.ascontiguousarray(vector, dtype=np.float32) for vector in short]
