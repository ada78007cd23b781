"""Rotary positions (Su et al. 2021, RoFormer, section 3.4.2), in the half-split layout that ModernBERT uses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """How far each token's queries and keys are turned: x becomes x * cos + (x with its halves swapped) * sin.

    cos, sin: (rows, 1, seq, head_size) fp32; the first half of sin is negative.
    """

    cos: Tensor
    sin: Tensor


def rotation(position_ids: Tensor, head_size: int, theta: float) -> Rotation:
    """The turn of every token. position_ids: (rows, seq) integers, counted from the start of each example."""
    even = torch.arange(0, head_size, 2, dtype=torch.float32, device=position_ids.device)
    angle = position_ids[:, None, :, None].float() * (1.0 / theta ** (even / head_size))
    cos, sin = angle.cos(), angle.sin()
    return Rotation(torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1))


def turn_(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn queries or keys in place. x: (rows, heads, seq, head_size); with -sin it turns back. Returns x.

    The angles are exact to fp32; they are applied in the dtype of x, as transformers does in a bf16 model.
    In fp32 throughout, with its casts, this took as long as the attention it prepares.
    """
    swapped = x.roll(x.shape[-1] // 2, dims=-1)
    return x.mul_(cos.to(x.dtype)).addcmul_(swapped, sin.to(x.dtype))
