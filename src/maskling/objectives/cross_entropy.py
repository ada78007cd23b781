"""The loss of masked tokens, from the vectors before the output matrix."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# FOLDED DOCS
# [chunked_loss] The loss of masked tokens without their scores ever being there all at once: torch's own chunked kernel, on GPUs.


_IGNORED = -100


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy added over predictions, () fp32. logits: (m, classes); labels: (n,) int64, of the first n."""
    labels = F.pad(labels, (0, len(logits) - len(labels)), value=_IGNORED)
    return F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=_IGNORED)


def head_loss(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """`token_loss` of `features @ weight.T + bias`.

    features: (m, width); weight: (vocab, width) and bias: (vocab,), both fp32; labels: (n,) int64, of the first n.
    Returns () fp32.

    Under bf16 autocast on a CPU it never leaves bf16 between the two products: the probabilities are rounded as the
    logits were, which moves a loss by less than the logits' own rounding does, and overwrite them; the gradient
    overwrites the probabilities, and is scaled where it is small, behind the products. In plain torch, with fp32
    copies, this part was a quarter of a training step of a small model.
    """
    if features.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        loss: Tensor = _HeadLoss.apply(features.to(dtype), weight, bias, labels)  # type: ignore[no-untyped-call]
        return loss
    return token_loss(F.linear(features, weight, bias), labels)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
        matrix = weight.to(features.dtype)
        with torch.autocast("cpu", enabled=False):
            chances = torch.addmm(bias.to(features.dtype), features, matrix.t())
            # Sums in fp32 inside; only what it leaves is rounded.
            torch.softmax(chances, dim=-1, out=chances)
        right = chances[: len(labels)].gather(1, labels[:, None])
        ctx.save_for_backward(features, matrix, chances, labels)
        # bf16 reaches as far down as fp32: the clamp holds only for losses above 87.
        return -right.float().clamp_min(torch.finfo(torch.float32).tiny).log().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, matrix, chances, labels = ctx.saved_tensors
        # In place: a second backward through the same graph is refused by autograd's version check. Indexed, because
        # scatter_add_ in bf16 copies the whole tensor to fp32 and back.
        chances[len(labels) :] = 0
        chances[torch.arange(len(labels)), labels] -= 1
        scale = grad.to(chances.dtype)
        into_features = (chances @ matrix).mul_(scale)
        into_weight = (chances.t() @ (features * scale)).float()
        return into_features, into_weight, chances.sum(0).float().mul_(grad), None


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
