"""Cross-entropy of masked tokens, from the hidden states before the output matrix.

`head_loss` computes logits and loss together: in bf16 on a CPU with a backward pass of its own, elsewhere with plain
torch. `chunked_head_loss` never holds all logits at once, by torch's chunked kernel on GPUs.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

_IGNORED = -100
# The name of torch's options class for the chunked kernel; torch before 2.13 has none.
_OPTIONS = "LinearCrossEntropyOptions"


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy summed over predictions, () fp32.

    logits: (m, classes). labels: (n,) int64, of the first n rows; rows beyond are padding.
    """
    labels = F.pad(labels, (0, len(logits) - len(labels)), value=_IGNORED)
    return F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=_IGNORED)


def head_loss(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor) -> Tensor:
    """Return `token_loss` of the logits `features @ weight.T + bias`.

    features: (m, width). weight: (vocab, width) and bias: (vocab,), both fp32. labels: (n,) int64, of the first n rows.
    Returns () fp32.

    Under bf16 autocast on a CPU everything between the two matrix products stays in bf16. The probabilities overwrite
    the logits and are rounded as the logits were, which changes a loss by less than the rounding of the logits does.
    The gradient overwrites the probabilities, and is scaled after the products, where it is small. In plain torch, with
    fp32 copies, this part was a quarter of a training step of a small model.
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
            probabilities = torch.addmm(bias.to(features.dtype), features, matrix.t())
            # softmax sums in fp32 inside; only its result is rounded.
            torch.softmax(probabilities, dim=-1, out=probabilities)
        of_labels = probabilities[: len(labels)].gather(1, labels[:, None])
        ctx.save_for_backward(features, matrix, probabilities, labels)
        # bf16 has the range of fp32: the clamp only matters for losses above 87.
        return -of_labels.float().clamp_min(torch.finfo(torch.float32).tiny).log().sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, matrix, gradient, labels = ctx.saved_tensors
        # In place: autograd's version check refuses a second backward pass through the same graph. By indexing, because
        # scatter_add_ in bf16 copies the whole tensor to fp32 and back.
        gradient[len(labels) :] = 0
        gradient[torch.arange(len(labels)), labels] -= 1
        scale = grad.to(gradient.dtype)
        grad_features = (gradient @ matrix).mul_(scale)
        grad_weight = (gradient.t() @ (features * scale)).float()
        return grad_features, grad_weight, gradient.sum(0).float().mul_(grad), None


def can_chunk(device: torch.device) -> bool:
    """Return whether this torch has the chunked kernel (2.13 or newer) and it is worth using on `device`.

    On a CPU it took 1.0 to 1.9 times as long as computing logits, dropping them and computing them again.
    """
    return device.type == "cuda" and hasattr(F, "linear_cross_entropy") and hasattr(torch.nn, _OPTIONS)


def chunked_head_loss(features: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, rows: int) -> Tensor:
    """Return `head_loss`, up to rounding, with the logits of at most `rows` rows in memory at once.

    features: (m, width). weight: (vocab, width) and bias: (vocab,), both fp32. labels: (n,) int64, of the first n rows.
    By default the kernel takes 64 to 256 rows, hence a hundred chunks, each with some forty kernel launches and a
    rounding of the gradient to bf16: the gradient of the word table was wrong by 1.5 %, in nine chunks by 0.4 %.
    Returns () fp32. The losses are summed here: in bf16 the kernel would sum them in bf16, which lost 1 % over 6,000.
    """
    kind = features.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else features.dtype
    labels = F.pad(labels, (0, len(features) - len(labels)), value=_IGNORED)
    with torch.autocast(kind, enabled=False):
        losses: Tensor = F.linear_cross_entropy(
            features.to(dtype),
            weight.to(dtype),
            labels,
            linear_bias=bias.to(dtype),
            reduction="none",
            ignore_index=_IGNORED,
            options=getattr(torch.nn, _OPTIONS)(batch_chunk_size=min(rows, len(features))),
        )
    return losses.float().sum()
