"""From the joint projection to heads: queries, keys and values laid out for matrix products, turned and scaled."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskling.model.rotary import Rotation, turned


def split_heads(qkv: Tensor, rows: int, num_heads: int, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries (already divided by the root of their size), keys and values, each head by itself.

    qkv: (rows * seq, 3 * hidden). Returns three of (rows, heads, seq, head_size), on a CPU contiguous.
    """
    turns = () if rotation is None else [table.to(qkv.dtype) for table in rotation]
    if qkv.device.type != "cpu" or torch.compiler.is_compiling():
        # A compiler makes one pass of this by itself, and stops at what is written below.
        return _split(qkv, rows, num_heads, *turns)
    q, k, v = _SplitHeads.apply(qkv, rows, num_heads, *turns)  # type: ignore[no-untyped-call]
    return q, k, v


def _split(qkv: Tensor, rows: int, num_heads: int, *turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    size = qkv.shape[1] // 3 // num_heads
    q, k, v = qkv.view(rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
    if not turns:
        return q * size**-0.5, k, v
    cos, sin, q_cos, q_sin = turns
    return turned(q, q_cos, q_sin), turned(k, cos, sin), v


class _SplitHeads(torch.autograd.Function):
    """One copy in each direction, everything else in place; autograd by itself would copy six times more."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, rows: int, num_heads: int, *turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = qkv.shape[1] // 3 // num_heads
        heads = qkv.view(rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = (part.clone(memory_format=torch.contiguous_format) for part in heads)
        if turns:
            cos, sin, q_cos, q_sin = turns
            q, k = turned(q, q_cos, q_sin), turned(k, cos, sin)
        else:
            q *= size**-0.5
        ctx.save_for_backward(*turns)
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        turns = ctx.saved_tensors
        rows, num_heads, seq, size = grad_q.shape
        out = grad_q.new_empty(rows, seq, 3, num_heads, size)
        into_q, into_k, into_v = out.permute(2, 0, 3, 1, 4)
        if turns:
            cos, sin, q_cos, q_sin = turns
            into_q.copy_(turned(grad_q, q_cos, q_sin, back=True))
            into_k.copy_(turned(grad_k, cos, sin, back=True))
        else:
            torch.mul(grad_q, size**-0.5, out=into_q)
            into_k.copy_(grad_k)
        into_v.copy_(grad_v)
        return out.view(rows * seq, 3 * num_heads * size), None, None, *(None for _ in turns)
