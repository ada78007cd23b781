"""Attention kernels behind `maskling.model.attention.attend`, and the split of projections into rotated heads.

- `bmm_attention`: matrix products with a backward pass of their own, for short rows in training on a CPU. torch's fused
  CPU kernel spends most of its time in the backward pass at short lengths: 13.5 ms per layer against 5.2 here (32 rows
  of 128 tokens, 4 heads).
- `varlen_attention`: torch's FlashAttention over examples of any length end to end, on a GPU; it skips masked scores.
- `split_heads`: from the joint projection to scaled queries, keys and values per head, with rotary positions (Su et al.
  2021, RoFormer, section 3.4.2) in the half-split layout of ModernBERT.
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


def bmm_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, dropout: float) -> Tensor:
    """Return the attention output of each row: (rows, heads, seq, head_size).

    q, k, v: (rows, heads, seq, head_size), contiguous, q already scaled. bias: (rows or 1, 1, seq, seq), added to the
    scores; see `AttentionPattern.bias`.
    """
    if torch.compiler.is_compiling() and not dropout:
        # As in `split_heads`: torch.compile fuses this itself.
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
    """Runs of tokens of one example in the flat batch, as variable-length kernels take them.

    starts: (runs + 1,) int32, on the device of the tokens; the padding of a row is a run of its own. longest:
    upper bound of the tokens of a run, a plain int, so that it need not be read from the device.
    """

    starts: Tensor
    longest: int


def varlen_attention(qkv: Tensor, runs: Runs, num_heads: int, window: int | None, rotation: Rotation | None) -> Tensor:
    """Return the attention output within each run: (tokens, hidden).

    qkv: (tokens, 3 * hidden) bf16. window: a token attends to window // 2 tokens on either side. rotation: see
    `Rotation`. Call `can_run` first.
    """
    assert _kernel is not None, "can_run comes first"
    tokens = qkv.shape[0]
    size = qkv.shape[1] // 3 // num_heads
    q, k, v = qkv.view(tokens, 3, num_heads, size).unbind(1)
    scale = size**-0.5
    if rotation is not None:
        cos, sin, q_cos, q_sin = (_flat(table, qkv.dtype) for table in rotation)
        # q_cos and q_sin also scale queries by 1 / sqrt(head_size).
        q, k, scale = rotate(q, q_cos, q_sin), rotate(k, cos, sin), 1.0
    half = -1 if window is None else window // 2
    starts, longest = runs
    out: Tensor = _kernel(q, k, v, starts, starts, longest, longest, scale=scale, window_size=(half, half))
    return out.reshape(tokens, num_heads * size)


def can_run(device: torch.device, dtype: torch.dtype, dropout: float, head_size: int) -> bool:
    """Return whether `varlen_attention` runs on this device (Ampere or newer), dtype and head size, without dropout."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16) or dropout:
        return False
    if head_size % 8 or head_size > 256:
        return False
    if not torch.compiler.is_compiling():
        # torch.compile would break the graph here; by then the kernel has been looked up.
        _find_kernel(device)
    return _kernel is not None


_kernel: Callable[..., Any] | None = None
_searched = False


def _find_kernel(device: torch.device) -> None:
    """Look up torch's kernel, once."""
    global _kernel, _searched
    if _searched:
        return
    _searched = True
    if not torch.cuda.is_available() or torch.cuda.get_device_capability(device) < (8, 0):
        return
    try:
        found: Callable[..., Any] = importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return
    # Its first version had neither parameter.
    if {"scale", "window_size"} <= inspect.signature(found).parameters.keys():
        _kernel = found


def _flat(table: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a table of `Rotation`, (rows, 1, seq, size), for flat tokens: (tokens, 1, size)."""
    return table.transpose(1, 2).flatten(0, 1).to(dtype)


def split_heads(qkv: Tensor, rows: int, num_heads: int, rotation: Rotation | None) -> tuple[Tensor, Tensor, Tensor]:
    """Split the joint projection into queries (already scaled by 1 / sqrt(head_size)), keys and values per head.

    qkv: (rows * seq, 3 * hidden). Returns three tensors (rows, heads, seq, head_size), contiguous on a CPU.
    """
    tables = () if rotation is None else [table.to(qkv.dtype) for table in rotation]
    if qkv.device.type != "cpu" or torch.compiler.is_compiling():
        # torch.compile fuses this into one pass itself, and cannot trace the autograd function below.
        return _split(qkv, rows, num_heads, *tables)
    q, k, v = _SplitHeads.apply(qkv, rows, num_heads, *tables)  # type: ignore[no-untyped-call]
    return q, k, v


def _split(qkv: Tensor, rows: int, num_heads: int, *tables: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    size = qkv.shape[1] // 3 // num_heads
    q, k, v = qkv.view(rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
    if not tables:
        return q * size**-0.5, k, v
    cos, sin, q_cos, q_sin = tables
    return rotate(q, q_cos, q_sin), rotate(k, cos, sin), v


class _SplitHeads(torch.autograd.Function):
    """Split into heads with one copy per direction, the rest in place; plain autograd would make six more copies."""

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, rows: int, num_heads: int, *tables: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = qkv.shape[1] // 3 // num_heads
        heads = qkv.view(rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
        q, k, v = (part.clone(memory_format=torch.contiguous_format) for part in heads)
        if tables:
            cos, sin, q_cos, q_sin = tables
            q, k = rotate(q, q_cos, q_sin), rotate(k, cos, sin)
        else:
            q *= size**-0.5
        ctx.save_for_backward(*tables)
        return q, k, v

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_q: Tensor, grad_k: Tensor, grad_v: Tensor) -> tuple[Tensor | None, ...]:
        tables = ctx.saved_tensors
        rows, num_heads, seq, size = grad_q.shape
        out = grad_q.new_empty(rows, seq, 3, num_heads, size)
        into_q, into_k, into_v = out.permute(2, 0, 3, 1, 4)
        if tables:
            cos, sin, q_cos, q_sin = tables
            into_q.copy_(rotate(grad_q, q_cos, q_sin, back=True))
            into_k.copy_(rotate(grad_k, cos, sin, back=True))
        else:
            torch.mul(grad_q, size**-0.5, out=into_q)
            into_k.copy_(grad_k)
        into_v.copy_(grad_v)
        return out.view(rows * seq, 3 * num_heads * size), None, None, *(None for _ in tables)


class Rotation(NamedTuple):
    """Rotary tables of a batch: x becomes x * cos + (x with its halves swapped) * sin.

    cos, sin: (rows, 1, seq, head_size); the first half of sin is negated. q_cos, q_sin: the same times
    1 / sqrt(head_size), to scale queries as they are rotated.
    """

    cos: Tensor
    sin: Tensor
    q_cos: Tensor
    q_sin: Tensor


def make_rotation(position_ids: Tensor, head_size: int, theta: float, dtype: torch.dtype = torch.float32) -> Rotation:
    """Compute the rotary tables. position_ids: (rows, seq) integers, counted from the start of each example.

    dtype: of queries and keys. The angles are computed in fp32 and applied in `dtype`, as transformers does in a bf16
    model. In fp32 throughout, with the casts, the rotation took as long as the attention that follows.
    """
    even = torch.arange(0, head_size, 2, dtype=torch.float32, device=position_ids.device)
    angle = position_ids[:, None, :, None].float() * (1.0 / theta ** (even / head_size))
    cos, sin = angle.cos(), angle.sin()
    cos, sin = torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
    scale = head_size**-0.5
    return Rotation(cos.to(dtype), sin.to(dtype), (cos * scale).to(dtype), (sin * scale).to(dtype))


def rotate(x: Tensor, cos: Tensor, sin: Tensor, back: bool = False) -> Tensor:
    """Rotate queries or keys, or with `back` their gradients the other way. x: (rows, heads, seq, head_size)."""
    return (x * cos).addcmul_(x.roll(x.shape[-1] // 2, dims=-1), sin, value=-1 if back else 1)
