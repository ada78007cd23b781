"""Who sees whom in a batch, and the one place that chooses the attention kernel.

A row holds one or more whole examples side by side, then padding. A token sees the tokens of its
own example and nothing else; padding sees padding, so that no softmax is ever empty.
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

# Up to this many tokens a row, matrix products with a written backward beat torch's fused CPU kernel in training:
# 5.3 times at 128, 1.8 at 256, 1.3-1.7 at 512 (processor time, bf16, forward and backward). Beyond, their memory,
# which grows with the square, is worse than the time saved.
BMM_LONGEST = 512

Kernel = Literal["bmm", "varlen", "sdpa"]


class AttentionPattern:
    """Which tokens of a row may look at each other.

    example_ids: (rows, seq) integers, the example each token belongs to within its row, -1 for padding;
    the tokens of an example stand next to each other.
    full: every row is one example without padding, so nothing needs hiding.
    maps: None, or a list that gets the attention of each layer, (rows, heads, seq, seq) float32, for whoever wants to
    look at it; a fused kernel never has it.
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
        """Look at the ids where they are (best on the CPU, before they travel), then move them to `device`."""
        full = bool((example_ids == example_ids[:, :1]).all())
        if device is None:
            return cls(example_ids, full=full)
        pattern = cls(to_device(example_ids, device), full=full)
        if device.type == "cuda":
            # Counted here, a GPU would have to be waited for to say how many there are.
            starts, longest = token_runs(example_ids)
            pattern.runs = Runs(to_device(starts, device), longest)
            pattern._max_examples = max_examples_per_row(example_ids)
        return pattern

    @classmethod
    def from_attention_mask(cls, attention_mask: Tensor) -> AttentionPattern:
        """One example a row. attention_mask: (rows, seq), 1 for tokens and 0 for padding."""
        return cls.from_example_ids(attention_mask.to(torch.int32) - 1)

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.example_ids.shape[0]

    @property
    def seq(self) -> int:
        """Tokens in each row."""
        return self.example_ids.shape[1]

    def without_masks(self) -> AttentionPattern:
        """The same, with no mask made yet."""
        pattern = AttentionPattern(self.example_ids, full=self.full)
        pattern.maps, pattern.runs, pattern._max_examples = self.maps, self.runs, self._max_examples
        return pattern

    def max_examples(self) -> int:
        """How many examples the row has that holds most of them."""
        if self._max_examples is None:
            self._max_examples = max_examples_per_row(self.example_ids)
        return self._max_examples

    def mask(self, window: int | None = None) -> Tensor | None:
        """What may be attended, (rows or 1, 1, seq, seq) bool, or None where everything may.

        window: a token sees at most window // 2 tokens to either side.
        """
        return self._cached(window, torch.bool)

    def bias(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """The same as numbers to add to the scores: 0 where a token may be attended, -inf elsewhere."""
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
            attended = self._cached(None if half is None else 2 * half, torch.bool)
            if attended is None:
                return None
            return torch.zeros(attended.shape, dtype=dtype, device=attended.device).masked_fill_(~attended, -torch.inf)
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
    """The most examples of a row, in which they are numbered from 0."""
    return int(example_ids.max()) + 1


def token_runs(example_ids: Tensor) -> Runs:
    """Where each run of tokens starts. example_ids: (rows, seq); padding counts as runs of its own, one a row.

    As the most tokens of a run it says `seq`: the kernel wants a bound, and a compiler one that stays.
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
    """The kernel that `attend` uses for rows of `seq` tokens, when gradients are wanted or not."""
    if attention_kernels.can_run(device, dtype, dropout, head_size):
        return "varlen"
    # Without a backward, torch's fused kernel is the faster one on the CPU too.
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
    """Self-attention of every token over the tokens it may see.

    qkv: (rows * seq, 3 * hidden), queries, keys and values side by side, each head after head.
    window: see `AttentionPattern.mask`; rotation: turns queries and keys by their position first.
    Returns (rows * seq, hidden).
    """
    size = qkv.shape[1] // 3 // num_heads
    kernel = kernel_name(qkv.device, pattern.seq, qkv.requires_grad, qkv.dtype, dropout, size)
    if kernel == "varlen" and pattern.maps is None:
        return attention_kernels.varlen_attention(qkv, pattern.cu_seqlens(), num_heads, window, rotation)
    if rotation is None and pattern.maps is None and not qkv.requires_grad and qkv.device.type == "cpu":
        # The fused kernel reads heads where they stand; laying them out first would cost a third of its time.
        q, k, v = qkv.view(pattern.rows, -1, 3, num_heads, size).permute(2, 0, 3, 1, 4)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=pattern.mask(window), dropout_p=dropout)
        return context.transpose(1, 2).reshape(qkv.shape[0], -1)
    q, k, v = split_heads(qkv, pattern.rows, num_heads, rotation)
    if pattern.maps is not None:
        pattern.maps.append(attention_weights(q, k, pattern.mask(window)))
    if kernel == "bmm":
        context = bmm_attention(q, k, v, pattern.bias(window, q.dtype), dropout)
    else:
        # As numbers, made once for all layers; torch would make them, and keep them, in each.
        bias = pattern.bias(window, q.dtype)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout, scale=1.0)
    # Not len(qkv), which is a plain number: whoever traces this would have its rows built in.
    return context.transpose(1, 2).reshape(qkv.shape[0], -1)


def prepare_masks(
    pattern: AttentionPattern, windows: Iterable[int | None], dtype: torch.dtype, *, dropout: float, head_size: int
) -> None:
    """Make what `attend` will ask for in training with these windows, before the layers do.

    A layer that made a mask, and is calculated again later, could not be compiled: it would leave something behind.
    """
    if kernel_name(pattern.example_ids.device, pattern.seq, True, dtype, dropout, head_size) != "varlen":
        for window in windows:
            pattern.bias(window, dtype)


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    """How much each token takes from each other one; each row sums to one.

    q, k: (rows, heads, seq, head_size), q scaled already; mask: see `AttentionPattern.mask`.
    Returns (rows, heads, seq, seq) float32.
    """
    scores = q.float() @ k.float().transpose(-1, -2)
    return (scores if mask is None else scores.masked_fill_(~mask, -torch.inf)).softmax(-1)
