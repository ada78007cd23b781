"""Rotary positions (Su et al. 2021, RoFormer, section 3.4.2), in the half-split layout that ModernBERT uses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """How far each token's queries and keys are turned.

    cos, sin: (rows, 1, seq, head_size / 2) fp32.
    """

    cos: Tensor
    sin: Tensor


def rotation(position_ids: Tensor, head_size: int, theta: float) -> Rotation:
    """The turn of every token. position_ids: (rows, seq) integers, counted from the start of each example."""
    even = torch.arange(0, head_size, 2, dtype=torch.float32, device=position_ids.device)
    angle = position_ids[:, None, :, None].float() * (1.0 / theta ** (even / head_size))
    return Rotation(angle.cos(), angle.sin())


def rotate(x: Tensor, turn: Rotation) -> Tensor:
    """Turn queries or keys, calculating in fp32. x: (rows, heads, seq, head_size). Returns the same shape and dtype."""
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat((first * turn.cos - second * turn.sin, second * turn.cos + first * turn.sin), dim=-1)
    return turned.to(x.dtype)
