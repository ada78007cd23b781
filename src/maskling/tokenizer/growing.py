"""An array that grows at its end without being copied each time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Growing:
    """Values of one dtype, appended in bulk and read as one array."""

    def __init__(self, dtype: Any, room: int = 1024) -> None:
        self._values = np.empty(room, dtype=dtype)
        self._used = 0

    @property
    def values(self) -> NDArray[Any]:
        """(n,) what was appended so far; valid until the next append."""
        return self._values[: self._used]

    def extend(self, values: Any) -> None:
        """Append (k,) values."""
        end = self._used + len(values)
        if end > len(self._values):
            wider = np.empty(max(end, 2 * len(self._values)), dtype=self._values.dtype)
            wider[: self._used] = self.values
            self._values = wider
        self._values[self._used : end] = values
        self._used = end
