"""Rotary positions (Su et al. 2021, RoFormer, section 3.4.2), in the half-split layout that ModernBERT uses."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Rotation(NamedTuple):
    """How far each token's queries and keys are turned: x becomes x * cos + (x with its halves swapped) * sin.

    cos, sin: (rows, 1, seq, head_size); the first half of sin is negative. q_cos, q_sin: the same over the root of
    head_size, by which queries are divided.
    """

    cos: Tensor
    sin: Tensor
    q_cos: Tensor
    q_sin: Tensor


def rotation(position_ids: Tensor, head_size: int, theta: float, dtype: torch.dtype = torch.float32) -> Rotation:
    """The turn of every token. position_ids: (rows, seq) integers, counted from the start of each example.

    dtype: of the queries and keys. The angles are exact to fp32; they are applied in `dtype`, as transformers does in
    a bf16 model. In fp32 throughout, with its casts, this took as long as the attention it prepares.
    """
    even = torch.arange(0, head_size, 2, dtype=torch.float32, device=position_ids.device)
    angle = position_ids[:, None, :, None].float() * (1.0 / theta ** (even / head_size))
    cos, sin = angle.cos(), angle.sin()
    cos, sin = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
    scale = head_size**-0.5
    return Rotation(cos.to(dtype), sin.to(dtype), (cos * scale).to(dtype), (sin * scale).to(dtype))


def turned(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False) -> Tensor:
    """Queries or keys, turned; with `back`, their gradients the other way. x: (rows, heads, seq, head_size)."""
    return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sin, value=-1 if back else 1)
