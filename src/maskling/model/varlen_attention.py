"""Attention over examples of any length end to end: torch's own FlashAttention on a GPU, which skips what is hidden.

Where the kernel is, and may be used, is asked once; everywhere else `attend` takes torch's kernel with a mask.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maskling.model.rotary import Rotation, turned


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
        # Queries are divided by the root of their size as they are turned.
        q, k, scale = turned(q, q_cos, q_sin), turned(k, cos, sin), 1.0
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
