"""The gated activation of ModernBERT's feed-forward part (Shazeer 2020, GLU variants, section 2: GEGLU)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskling.model.config import Activation


def gated(x: Tensor, activation: Activation) -> Tensor:
    """The first half of each vector, activated, times the second. x: (n, 2 * width). Returns (n, width)."""
    approximate = "none" if activation == "gelu" else "tanh"
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        # As in `split_heads`: for a compiler to put together.
        value, gate = x.chunk(2, dim=-1)
        return F.gelu(value, approximate=approximate) * gate
    out: Tensor = _Gated.apply(x, approximate)  # type: ignore[no-untyped-call]
    return out


class _Gated(torch.autograd.Function):
    """Both halves of the gradient are written where they belong, instead of being put side by side later."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, approximate: str) -> Tensor:
        value, gate = x.chunk(2, dim=-1)
        active = F.gelu(value, approximate=approximate)
        ctx.save_for_backward(x, active)
        ctx.approximate = approximate
        return active * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, active = ctx.saved_tensors
        value, gate = x.chunk(2, dim=-1)
        out = torch.empty_like(x)
        into_value, into_gate = out.chunk(2, dim=-1)
        torch.mul(grad, active, out=into_gate)
        torch.ops.aten.gelu_backward.grad_input(grad * gate, value, approximate=ctx.approximate, grad_input=into_value)
        return out, None
