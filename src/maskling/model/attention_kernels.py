"""Attention as plain matrix products with a written backward: the fast way for short rows on a CPU.

torch's fused CPU kernel spends most of its time in the backward at short lengths: 13.5 ms a layer
against 5.2 here (32 rows of 128 tokens, 4 heads).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from maskling.model.layers import dropout_mask

# FOLDED DOCS
# [varlen_attention] Attention over examples of any length end to end: torch's own FlashAttention on a GPU, which skips what is hidden. Where the kernel is, and may be used, is asked once; everywhere else `attend` takes torch's kernel with a mask.
# [heads] From the joint projection to heads: queries, keys and values laid out for matrix products, rotate and scaled.
# [rotary] Rotary positions (Su et al. 2021, RoFormer, section 3.4.2), in the half-split layout that ModernBERT uses.


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
        keep = dropout_mask(weights.shape, dropout, weights.dtype) if dropout > 0 else None
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


class Runs(NamedTuple):
    """Where the examples of a batch stand in its flat tokens.

    starts: (runs + 1,) int32, on the device of the tokens; padding counts as runs of its own. longest: no run has more
    tokens, a plain number, so that nobody has to wait for the device to say it.
    """

    starts: Tensor
    longest: int


def varlen_attention(qkv: Tensor, runs: Runs, num_heads: int, window: int | None, rotation: Rotation | None) -> Tensor:
    """Attend within each run.

    qkv: (tokens, 3 * hidden), bf16; window: a token sees window // 2 tokens to either side; rotation: see `Rotation`.
    Returns (tokens, hidden).
    """
    assert _kernel is not None, "can_run comes first"
    tokens = qkv.shape[0]
    size = qkv.shape[1] // 3 // num_heads
    q, k, v = qkv.view(tokens, 3, num_heads, size).unbind(1)
    scale = size**-0.5
    if rotation is not None:
        cos, sin, q_cos, q_sin = (_flat(table, qkv.dtype) for table in rotation)
        # Queries are divided by the root of their size as they are rotate.
        q, k, scale = rotate(q, q_cos, q_sin), rotate(k, cos, sin), 1.0
    half = -1 if window is None else window // 2
    starts, longest = runs
    out: Tensor = _kernel(q, k, v, starts, starts, longest, longest, scale=scale, window_size=(half, half))
    return out.reshape(tokens, num_heads * size)


def can_run(device: torch.device, dtype: torch.dtype, dropout: float, head_size: int) -> bool:
    """Whether the kernel is there for this device (Ampere or newer), these numbers and heads; it knows no dropout."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16) or dropout:
        return False
    if head_size % 8 or head_size > 256:
        return False
    if not torch.compiler.is_compiling():
        # A compiler would stop at these questions; by then they were answered.
        _look(device)
    return _kernel is not None


_kernel: Callable[..., Any] | None = None
_asked = False


def _look(device: torch.device) -> None:
    """Find the kernel, once."""
    global _kernel, _asked
    if _asked:
        return
    _asked = True
    if not torch.cuda.is_available() or torch.cuda.get_device_capability(device) < (8, 0):
        return
    try:
        found: Callable[..., Any] = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return
    # In its first version it knew neither.
    if {"scale", "window_size"} <= inspect.signature(found).parameters.keys():
        _kernel = found


def _flat(table: Tensor, dtype: torch.dtype) -> Tensor:
    """A table of `Rotation`, (rows, 1, seq, size), for flat tokens: (tokens, 1, size)."""
    return table.transpose(1, 2).flatten(0, 1).to(dtype)


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
    return rotate(q, q_cos, q_sin), rotate(k, cos, sin), v


class _SplitHeads(torch.autograd.Function):
    """One copy in each direction, everything else in place; autograd by itself would copy six times more."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, rows: int, num_heads: int, *turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = qkv.shape[1] // 3 // num_heads
        heads = qkv.view(rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = (part.clone(memory_format=torch.contiguous_format) for part in heads)
        if turns:
            cos, sin, q_cos, q_sin = turns
            q, k = rotate(q, q_cos, q_sin), rotate(k, cos, sin)
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
            into_q.copy_(rotate(grad_q, q_cos, q_sin, back=True))
            into_k.copy_(rotate(grad_k, cos, sin, back=True))
        else:
            torch.mul(grad_q, size**-0.5, out=into_q)
            into_k.copy_(grad_k)
        into_v.copy_(grad_v)
        return out.view(rows * seq, 3 * num_heads * size), None, None, *(None for _ in turns)


class Rotation(NamedTuple):
    """How far each token's queries and keys are rotate: x becomes x * cos + (x with its halves swapped) * sin.

    cos, sin: (rows, 1, seq, head_size); the first half of sin is negative. q_cos, q_sin: the same over the root of
    head_size, by which queries are divided.
    """

    cos: Tensor
    sin: Tensor
    q_cos: Tensor
    q_sin: Tensor


def make_rotation(position_ids: Tensor, head_size: int, theta: float, dtype: torch.dtype = torch.float32) -> Rotation:
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


def rotate(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False) -> Tensor:
    """Queries or keys, rotate; with `back`, their gradients the other way. x: (rows, heads, seq, head_size)."""
    return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sin, value=-1 if back else 1)
