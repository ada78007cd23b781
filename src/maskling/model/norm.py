"""LayerNorm that stays in the dtype of what it normalises."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    """x: (n, width), normalised; returns the dtype of x, with statistics in fp32.

    Autocast would cast x to fp32 before and the next matrix product cast it back, in both directions: 40 copies of the
    states in a step of four layers.
    """
    if x.device.type != "cpu" or x.dtype == torch.float32:
        out: Tensor = layer(x)
        return out
    return torch.native_layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)[0]


def working_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products with x, here and now."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
