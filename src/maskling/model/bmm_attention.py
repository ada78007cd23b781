"""Attention as plain matrix products with a written backward: the fast way for short rows on a CPU.

torch's fused CPU kernel spends most of its time in the backward at short lengths: 13.5 ms a layer
against 5.2 here (32 rows of 128 tokens, 4 heads).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskling.model.dropout import kept


def bmm_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Attend within each row.

    q, k, v: (rows, heads, seq, head_size), contiguous, q already scaled; bias: (rows or 1, 1, seq, seq), added to the
    scores. Returns (rows, heads, seq, head_size).
    """
    if torch.compiler.is_compiling() and not dropout:
        # As in `split_heads`: for a compiler to put together.
        scores = q @ k.transpose(-1, -2)
        return (scores if bias is None else scores + bias).softmax(-1).to(v.dtype) @ v
    out: Tensor = _BmmAttention.apply(q, k, v, bias, dropout)  # type: ignore[no-untyped-call]
    return out


class _BmmAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
        scores = torch.bmm(q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2))
        if bias is not None:
            scores.view(*q.shape[:3], -1).add_(bias)
        weights = torch.softmax(scores, dim=-1)
        keep = kept(weights.shape, dropout, weights.dtype) if dropout > 0 else None
        used = weights if keep is None else weights * keep
        ctx.save_for_backward(q, k, v, weights, keep)
        return torch.bmm(used, v.flatten(0, 1)).view(q.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, weights, keep = ctx.saved_tensors
        grad = grad.reshape(-1, *grad.shape[2:])
        used = weights if keep is None else weights * keep
        grad_v = torch.bmm(used.transpose(1, 2), grad)
        grad_weights = torch.bmm(grad, v.flatten(0, 1).transpose(1, 2))
        if keep is not None:
            grad_weights *= keep
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        grad_q = torch.bmm(grad_scores, k.flatten(0, 1))
        grad_k = torch.bmm(grad_scores.transpose(1, 2), q.flatten(0, 1))
        return grad_q.view(q.shape), grad_k.view(q.shape), grad_v.view(q.shape), None, None
