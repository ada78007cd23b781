"""LayerNorm that stays in the dtype of what it normalises."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from maskling.model.config import Activation

# FOLDED DOCS
# [activations] The activations that a configuration can name.
# [dropout] Dropout whose random mask costs little on a CPU.
# [gated] The gated activation of ModernBERT's feed-forward part (Shazeer 2020, GLU variants, section 2: GEGLU).


def layer_norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    """x: (n, width), normalised; returns the dtype of x, with statistics in fp32.

    Autocast would cast x to fp32 before and the next matrix product cast it back, in both directions: 40 copies of the
    states in a step of four layers.
    """
    if x.device.type != "cpu" or x.dtype == torch.float32:
        out: Tensor = layer(x)
        return out
    return torch.native_layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)[0]


def autocast_dtype(x: Tensor) -> torch.dtype:
    """The dtype of matrix products with x, here and now."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


ACTIVATIONS: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


def drop(x: Tensor, chance: float, training: bool) -> Tensor:
    """Set a share of `x` to zero in training and scale the rest so that the mean stays.

    Draws from torch's generator: equal torch.manual_seed, equal mask.
    """
    if not training or chance == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, chance)
    return x * dropout_mask(x.shape, chance, x.dtype)


def dropout_mask(shape: torch.Size, chance: float, dtype: torch.dtype) -> Tensor:
    """Zeros with the given chance, elsewhere the factor that keeps the mean. CPU.

    One byte decides each value, so the chance is a multiple of 1/256 (0.1 becomes 26/256 = 0.1016);
    the factor belongs to the chance really used, so the mean is exact. torch's own Bernoulli takes
    5-7 % of a training step of a small model, these bytes a tenth of that.
    """
    limit = max(1, round(chance * 256))
    # torch's generator decides the seed, numpy's fast one draws the bytes.
    seed = int(torch.randint(2**62, ()))
    raw = np.random.Generator(np.random.SFC64(seed)).bytes(shape.numel())
    drawn = torch.from_numpy(np.frombuffer(bytearray(raw), dtype=np.uint8)).view(shape)
    return (drawn >= limit).to(dtype).mul_(256 / (256 - limit))


def geglu(x: Tensor, activation: Activation) -> Tensor:
    """The first half of each vector, activated, times the second. x: (n, 2 * width). Returns (n, width)."""
    approximate = "none" if activation == "gelu" else "tanh"
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        # As in `split_heads`: for a compiler to put together.
        value, gate = x.chunk(2, dim=-1)
        return F.gelu(value, approximate=approximate) * gate
    out: Tensor = _GeGLU.apply(x, approximate)  # type: ignore[no-untyped-call]
    return out


class _GeGLU(torch.autograd.Function):
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
