"""The chunked loss of a GPU, run on a CPU, is the plain one, and so are its gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import ModernConfig
from maskling.objectives import losses
from maskling.objectives.cross_entropy import can_chunk, chunked_head_loss, token_loss
from maskling.objectives.losses import TensorBatch, masked_lm_loss

pytestmark = pytest.mark.skipif(not hasattr(F, "linear_cross_entropy"), reason="torch older than 2.13")


def inputs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(192, 24), (1009, 24), (1009,)]
    return [torch.randn(*size, generator=generator).requires_grad_() for size in sizes]


def test_loss_and_gradients_are_those_of_all_scores_at_once() -> None:
    labels = torch.arange(131) * 7
    features, weight, bias = inputs()
    expected = token_loss(F.linear(features, weight, bias), labels)
    gradients = torch.autograd.grad(0.25 * expected, (features, weight, bias))
    found = chunked_head_loss(features, weight, bias, labels, rows=50)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(0.25 * found, (features, weight, bias)), gradients)


def test_under_autocast_it_rounds_as_bf16_does() -> None:
    labels = torch.arange(131) * 7
    features, weight, bias = inputs()
    expected = token_loss(F.linear(features, weight, bias), labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = chunked_head_loss(features, weight, bias, labels, rows=50)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=2e-2, atol=0)
    (grad,) = torch.autograd.grad(found, weight)
    assert grad.dtype == torch.float32
    torch.testing.assert_close(grad, torch.autograd.grad(expected, weight)[0], rtol=0.05, atol=0.1)


def test_thousands_of_rows_are_added_up_in_fp32() -> None:
    generator = torch.Generator().manual_seed(0)
    features, weight = (torch.randn(size, 24, generator=generator) for size in (6016, 1009))
    labels = torch.randint(1009, (6000,), generator=generator)
    expected = token_loss(F.linear(features, weight), labels)
    with torch.autocast("cpu", torch.bfloat16):
        found = chunked_head_loss(features, weight, torch.zeros(1009), labels, rows=700)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("rows", "taken"), [(50, 50), (1000, 192)])
def test_as_many_rows_are_taken_at_a_time_as_are_said(rows: int, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.nn.modules import linear_cross_entropy

    found = []
    kernel = linear_cross_entropy._linear_cross_entropy_batch_chunked_no_reduction

    def seen(*arguments: object) -> object:
        found.append(arguments[6])
        return kernel(*arguments)

    monkeypatch.setattr(linear_cross_entropy, "_linear_cross_entropy_batch_chunked_no_reduction", seen)
    chunked_head_loss(*inputs(), torch.arange(192), rows=rows)
    assert found == [taken]


def test_a_cpu_does_without() -> None:
    assert not can_chunk(torch.device("cpu"))
    assert can_chunk(torch.device("cuda"))


def test_masked_tokens_have_one_loss_with_it_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    module = build_masked_lm(
        ModernConfig(vocab_size=211, hidden_size=24, num_layers=1, num_heads=2, intermediate_size=36), 0
    )
    hidden = torch.randn(4, 40, 24, generator=torch.Generator().manual_seed(1))
    places = torch.arange(0, 160, 2)
    nothing = torch.zeros(0, dtype=torch.int64)
    ids, pattern = torch.zeros(4, 40, dtype=torch.int64), AttentionPattern.from_example_ids(torch.zeros(4, 40))
    batch = TensorBatch(ids, ids, ids, pattern, F.pad(places, (0, 48)), places, nothing, nothing)
    plain = masked_lm_loss(module, hidden, batch, logits_bytes=4 * 211 * 10)
    monkeypatch.setattr(losses, "can_chunk", lambda _: True)
    chunked = masked_lm_loss(module, hidden, batch, logits_bytes=4 * 211 * 10)
    assert plain.count == chunked.count == 80
    torch.testing.assert_close(plain.sum, chunked.sum)
