"""Parts of layers: LayerNorm in the working dtype, activations, dropout that is fast on a CPU, and GeGLU."""

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

# The activations that a configuration can name.
ACTIVATIONS: Final[dict[Activation, Callable[[Tensor], Tensor]]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
}


def layer_norm(x: Tensor, layer: nn.LayerNorm) -> Tensor:
    """Apply LayerNorm with statistics in fp32 and return the dtype of x: (n, width).

    Autocast would cast x to fp32 first and the next matrix product would cast it back, in both passes: 40 copies of the
    hidden states per step of four layers.
    """
    if x.device.type != "cpu" or x.dtype == torch.float32:
        out: Tensor = layer(x)
        return out
    return torch.native_layer_norm(x, layer.normalized_shape, layer.weight, layer.bias, layer.eps)[0]


def autocast_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype of matrix products with x in the current autocast context (mixed precision)."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def drop(x: Tensor, chance: float, training: bool) -> Tensor:
    """Apply dropout with probability `chance` in training; the expected value stays the same.

    Draws from torch's generator: the same torch.manual_seed gives the same mask.
    """
    if not training or chance == 0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, chance)
    return x * dropout_mask(x.shape, chance, x.dtype)


def dropout_mask(shape: torch.Size, chance: float, dtype: torch.dtype) -> Tensor:
    """Draw a dropout mask on the CPU: 0 with the given chance, else the factor that preserves the mean.

    One byte decides each value, so the chance is rounded to a multiple of 1/256 (0.1 becomes 26/256 = 0.1016). The
    factor is for the rounded chance, so the mean is exact. torch's own Bernoulli takes 5-7 % of a training step of a
    small model, these bytes a tenth of that.
    """
    limit = max(1, round(chance * 256))
    # torch's generator draws the seed, numpy's fast one the bytes.
    seed = int(torch.randint(2**62, ()))
    raw = np.random.Generator(np.random.SFC64(seed)).bytes(shape.numel())
    drawn = torch.from_numpy(np.frombuffer(bytearray(raw), dtype=np.uint8)).view(shape)
    return (drawn >= limit).to(dtype).mul_(256 / (256 - limit))


def geglu(x: Tensor, activation: Activation) -> Tensor:
    """Multiply the activated first half of each vector by its second half: ModernBERT's GeGLU.

    Shazeer 2020, GLU Variants Improve Transformer, section 2. x: (n, 2 * width). Returns (n, width).
    """
    approximate = "none" if activation == "gelu" else "tanh"
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        # As in `split_heads`: torch.compile fuses this itself.
        value, gate = x.chunk(2, dim=-1)
        return F.gelu(value, approximate=approximate) * gate
    out: Tensor = _GeGLU.apply(x, approximate)  # type: ignore[no-untyped-call]
    return out


class _GeGLU(torch.autograd.Function):
    """GeGLU whose backward pass writes both halves of the gradient into one tensor, without a concatenation."""

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
