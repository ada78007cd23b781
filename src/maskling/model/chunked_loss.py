"""The loss of masked tokens without their scores ever being there all at once: torch's own chunked kernel, on GPUs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def can_chunk(device: torch.device) -> bool:
    """Whether this torch has the kernel (2.13 or newer), and the device is one where it pays.

    On a CPU it took 1.0 to 1.9 times as long as scores that are made, forgotten and made again.
    """
    return device.type == "cuda" and hasattr(F, "linear_cross_entropy") and hasattr(torch.nn, _OPTIONS)


_OPTIONS = "LinearCrossEntropyOptions"


def chunked_head_loss(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, rows: int) -> Tensor:
    """`head_loss`, to rounding, with some rows of scores at a time.

    features: (m, width); weight: (vocab, width) and bias: (vocab,), both fp32; labels: (n,) int64, of the first n.
    rows: how many at a time. Left to itself the kernel takes 64 to 256, in a hundred pieces, each with some forty
    kernels and a rounding of the gradient to bf16: that of the table was wrong by 1.5 %, in nine pieces by 0.4 %.
    Returns () fp32. The losses are added up here: in bf16 the kernel would add them in bf16, and lost 1 % over 6,000.
    """
    kind, ignored = features.device.type, -100
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    labels = F.pad(labels, (0, len(features) - len(labels)), value=ignored)
    with torch.autocast(kind, enabled=False):
        losses: Tensor = F.linear_cross_entropy(
            features.to(dtype),
            weight.to(dtype),
            labels,
            linear_bias=bias.to(dtype),
            reduction="none",
            ignore_index=ignored,
            options=getattr(torch.nn, _OPTIONS)(batch_chunk_size=min(rows, len(features))),
        )
    return losses.float().sum()
