"""From the joint projection to heads: queries, keys and values laid out for matrix products, turned and scaled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskling.model.rotary import Rotation, turn_


def split_heads(qkv: Tensor, rows: int, num_heads: int, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (already divided by the root of their size), keys and values, each head by itself.

    qkv: (rows * seq, 3 * hidden). Returns three of (rows, heads, seq, head_size), contiguous.
    """
    cos, sin = (None, None) if rotation is None else rotation
    q, k, v = _SplitHeads.apply(qkv, rows, num_heads, cos, sin)  # type: ignore[no-untyped-call]
    return q, k, v


class _SplitHeads(torch.autograd.Function):
    """One copy in each direction, everything else in place; autograd by itself would copy six times more."""

    @staticmethod
    def forward(
        ctx: Any, qkv: Tensor, rows: int, num_heads: int, cos: Tensor | None, sin: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        size = qkv.shape[1] // 3 // num_heads
        heads = qkv.view(rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = (part.clone(memory_format=torch.contiguous_format) for part in heads)
        scale = size**-0.5
        if cos is None or sin is None:
            q *= scale
        else:
            turn_(q, cos * scale, sin * scale)
            turn_(k, cos, sin)
        ctx.save_for_backward(cos, sin)
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        rows, num_heads, seq, size = grad_q.shape
        out = grad_q.new_empty(rows, seq, 3, num_heads, size)
        into_q, into_k, into_v = out.permute(2, 0, 3, 1, 4)
        scale = size**-0.5
        if cos is None:
            torch.mul(grad_q, scale, out=into_q)
            into_k.copy_(grad_k)
        else:
            # The gradient turns back. The copies are made because these gradients are not ours to change.
            into_q.copy_(turn_(grad_q.clone(), cos * scale, sin * -scale))
            into_k.copy_(turn_(grad_k.clone(), cos, -sin))
        into_v.copy_(grad_v)
        return out.view(rows * seq, 3 * num_heads * size), None, None, None, None
