"""Self-attention over packed rows: the attention mask, and the choice of the attention kernel.

With packing, a row holds one or more whole examples side by side, then padding. A token attends to the tokens of its
own example only. Padding attends to padding, so that no softmax is over an empty set. `AttentionPattern` makes the
masks, `attend` applies attention.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from maskling.model import attention_kernels
from maskling.model.attention_kernels import Rotation, Runs, bmm_attention, split_heads
from maskling.model.device import to_device

# Up to this many tokens per row, matrix products with a backward pass of their own beat torch's fused CPU kernel in
# training: 5.3 times at 128, 1.8 at 256, 1.3-1.7 at 512 (CPU time, bf16, forward and backward). Beyond, their memory,
# which grows with the square of the length, outweighs the time saved.
BMM_LONGEST = 512

Kernel = Literal["bmm", "varlen", "sdpa"]


class AttentionPattern:
    """Attention mask of a batch of packed rows, in the form that each kernel needs, made once and cached.

    example_ids: (rows, seq) integers, the example of each token within its row, -1 for padding. The tokens of an
    example are contiguous.
    full: every row is one example without padding, so nothing is masked.
    maps: None, or a list to which each layer appends its attention weights, (rows, heads, seq, seq) float32. Fused
    kernels never compute them, so `attend` then computes them separately.
    """

    def __init__(self, example_ids: Tensor, *, full: bool) -> None:
        self.example_ids = example_ids
        self.full = full
        self.maps: list[Tensor] | None = None
        self.runs: Runs | None = None
        self._max_examples: int | None = None
        self._masks: dict[tuple[int | None, torch.dtype], Tensor | None] = {}

    @classmethod
    def from_example_ids(cls, example_ids: Tensor, device: torch.device | None = None) -> AttentionPattern:
        """Inspect the ids where they are (preferably on the CPU, before the transfer), then move them to `device`."""
        full = bool((example_ids == example_ids[:, :1]).all())
        if device is None:
            return cls(example_ids, full=full)
        pattern = cls(to_device(example_ids, device), full=full)
        if device.type == "cuda":
            # Computed on the CPU: the number of runs decides a shape, and reading it from the GPU would synchronize.
            starts, longest = token_runs(example_ids)
            pattern.runs = Runs(to_device(starts, device), longest)
            pattern._max_examples = max_examples_per_row(example_ids)
        return pattern

    @classmethod
    def from_attention_mask(cls, attention_mask: Tensor) -> AttentionPattern:
        """Return the pattern of one example per row. attention_mask: (rows, seq), 1 for tokens and 0 for padding."""
        return cls.from_example_ids(attention_mask.to(torch.int32) - 1)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.example_ids.shape[0]

    @property
    def seq(self) -> int:
        """Number of tokens per row, padding included."""
        return self.example_ids.shape[1]

    def without_masks(self) -> AttentionPattern:
        """Return a copy without cached masks."""
        pattern = AttentionPattern(self.example_ids, full=self.full)
        pattern.maps, pattern.runs, pattern._max_examples = self.maps, self.runs, self._max_examples
        return pattern

    def max_examples(self) -> int:
        """Return the largest number of examples in a row."""
        if self._max_examples is None:
            self._max_examples = max_examples_per_row(self.example_ids)
        return self._max_examples

    def mask(self, window: int | None = None) -> Tensor | None:
        """Return the attention mask, True where attention is allowed.

        window: a token attends to at most window // 2 tokens on either side.
        Returns (rows or 1, 1, seq, seq) bool, or None if nothing is masked.
        """
        return self._cached(window, torch.bool)

    def bias(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """Return the mask as an additive bias of the scores: 0 where attention is allowed, -inf elsewhere."""
        return self._cached(window, dtype)

    def cu_seqlens(self) -> Runs:
        """Where each run of tokens starts in the flat batch, as variable-length kernels want it."""
        if self.runs is None:
            self.runs = token_runs(self.example_ids)
        return self.runs

    def _cached(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        half = None if window is None or window // 2 >= self.seq - 1 else window // 2
        key = (half, dtype)
        if key not in self._masks:
            self._masks[key] = self._make(half, dtype)
        return self._masks[key]

    def _make(self, half: int | None, dtype: torch.dtype) -> Tensor | None:
        if dtype != torch.bool:
            mask = self._cached(None if half is None else 2 * half, torch.bool)
            if mask is None:
                return None
            return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, -torch.inf)
        near = None
        if half is not None:
            # Examples are contiguous, so the distance between columns is the distance between positions.
            columns = torch.arange(self.seq, device=self.example_ids.device)
            near = ((columns[:, None] - columns[None, :]).abs() <= half)[None, None]
        if self.full:
            return near
        same = (self.example_ids[:, :, None] == self.example_ids[:, None, :])[:, None]
        return same if near is None else same & near


def max_examples_per_row(example_ids: Tensor) -> int:
    """Return the largest number of examples in a row; ids count from 0 within a row."""
    return int(example_ids.max()) + 1


def token_runs(example_ids: Tensor) -> Runs:
    """Return the start of each run of tokens of one example. The padding of a row is a run of its own.

    example_ids: (rows, seq). `seq` is given as the longest run: the kernel needs an upper bound, and torch.compile a
    constant one.
    """
    first = torch.ones_like(example_ids, dtype=torch.bool)
    first[:, 1:] = example_ids[:, 1:] != example_ids[:, :-1]
    starts = F.pad(first.flatten().nonzero().flatten(), (0, 1), value=example_ids.numel())
    return Runs(starts.to(torch.int32), example_ids.shape[1])


def kernel_name(
    device: torch.device,
    seq: int,
    training: bool = True,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    head_size: int = 64,
) -> Kernel:
    """Return the kernel that `attend` uses for rows of `seq` tokens. training: whether gradients are needed."""
    if attention_kernels.can_run(device, dtype, dropout, head_size):
        return "varlen"
    # Without a backward pass, torch's fused kernel is the faster one on the CPU too.
    return "bmm" if training and device.type == "cpu" and seq <= BMM_LONGEST else "sdpa"


def attend(
    qkv: Tensor,
    pattern: AttentionPattern,
    num_heads: int,
    *,
    window: int | None,
    dropout: float,
    rotation: Rotation | None,
) -> Tensor:
    """Return the self-attention output of every token over the tokens that `pattern` allows.

    qkv: (rows * seq, 3 * hidden), queries, keys and values side by side, each with its heads in order.
    window: see `AttentionPattern.mask`. dropout: of attention weights. rotation: rotary positions, applied to queries
    and keys first. Returns (rows * seq, hidden).
    """
    size = qkv.shape[1] // 3 // num_heads
    kernel = kernel_name(qkv.device, pattern.seq, qkv.requires_grad, qkv.dtype, dropout, size)
    if kernel == "varlen" and pattern.maps is None:
        return attention_kernels.varlen_attention(qkv, pattern.cu_seqlens(), num_heads, window, rotation)
    if rotation is None and pattern.maps is None and not qkv.requires_grad and qkv.device.type == "cpu":
        # The fused kernel reads strided heads; copying them into contiguous tensors would cost a third of its time.
        q, k, v = qkv.view(pattern.rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=pattern.mask(window), dropout_p=dropout)
        return context.transpose(1, 2).reshape(qkv.shape[0], -1)
    q, k, v = split_heads(qkv, pattern.rows, num_heads, rotation)
    if pattern.maps is not None:
        pattern.maps.append(attention_weights(q, k, pattern.mask(window)))
    if kernel == "bmm":
        context = bmm_attention(q, k, v, pattern.bias(window, q.dtype), dropout)
    else:
        # A bias, made once for all layers; from a bool mask torch would make and keep one in each layer.
        bias = pattern.bias(window, q.dtype)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=1.0)
    # Not len(qkv), a plain int: a tracer (torch.export) would make the number of rows a constant.
    return context.transpose(1, 2).reshape(qkv.shape[0], -1)


def prepare_masks(
    pattern: AttentionPattern, windows: Iterable[int | None], dtype: torch.dtype, *, dropout: float, head_size: int
) -> None:
    """Make the masks that `attend` needs in training with these windows, before the layers run.

    Otherwise a layer would make and cache a mask; such a side effect cannot be compiled together with activation
    checkpointing.
    """
    if kernel_name(pattern.example_ids.device, pattern.seq, True, dtype, dropout, head_size) != "varlen":
        for window in windows:
            pattern.bias(window, dtype)


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """Return the attention weights, softmax(q k^T): (rows, heads, seq, seq) float32, each row sums to one.

    q, k: (rows, heads, seq, head_size), q already scaled. mask: see `AttentionPattern.mask`.
    """
    scores = q.float() @ k.float().transpose(-1, -2)
    return (scores if mask is None else scores.masked_fill_(~mask, -torch.inf)).softmax(-1)
