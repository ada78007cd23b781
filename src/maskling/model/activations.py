"""The activations that a configuration can name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch.nn.functional as F
from torch import Tensor

from maskling.model.config import Activation

ACTIVATIONS: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}
