"""Every backward that is written by hand, against what autograd derives from the plain formula."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskling.model.attention_kernels import bmm_attention, make_rotation, split_heads
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig
from maskling.model.layers import drop, dropout_mask, geglu, layer_norm
from maskling.objectives.cross_entropy import head_loss, token_loss


def gradients(function: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """The value and the gradients of a random weighting of it."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, weight)]


def agree(ours: Callable[..., Tensor], plain: Callable[..., Tensor], *inputs: Tensor) -> None:
    for one, other in zip(gradients(ours, *inputs), gradients(plain, *inputs), strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().max() > 0


def test_attention() -> None:
    q, k, v = torch.randn(3, 2, 3, 5, 7, dtype=torch.float64)
    bias = torch.zeros(2, 1, 5, 5, dtype=torch.float64).masked_fill(torch.eye(5).flip(0).bool(), -torch.inf)
    agree(
        lambda q, k, v: bmm_attention(q, k, v, bias, 0.0),
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0),
        q,
        k,
        v,
    )


def test_attention_with_dropout() -> None:
    q, k, v = torch.randn(3, 2, 3, 5, 7, dtype=torch.float64)

    def ours(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(4)
        return bmm_attention(q, k, v, None, 0.3)

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        torch.manual_seed(4)
        weights = torch.softmax(q @ k.transpose(-1, -2), -1)
        return (weights * dropout_mask(torch.Size((6, 5, 5)), 0.3, torch.float64).view(2, 3, 5, 5)) @ v

    agree(ours, plain, q, k, v)


@pytest.mark.parametrize("rotate", [True, False])
def test_heads(rotate: bool) -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]])
    turn = make_rotation(positions, 6, theta=100.0) if rotate else None

    def ours(qkv: Tensor) -> Tensor:
        return torch.cat([part.flatten() for part in split_heads(qkv, 2, 3, turn)])

    def plain(qkv: Tensor) -> Tensor:
        q, k, v = qkv.view(2, 5, 3, 3, 6).permute(2, 0, 3, 1, 4)
        if rotate:
            # As complex numbers: the pair (i, i + half) is one number, rotate by its angle.
            angle = positions[:, None, :, None] * 100.0 ** (-torch.arange(3, dtype=torch.float64) / 3)
            unit = torch.polar(torch.ones_like(angle), angle)
            whole = [torch.complex(*x.chunk(2, -1)) * unit for x in (q, k)]
            q, k = (torch.cat((z.real, z.imag), -1) for z in whole)
        return torch.cat([(q * 6**-0.5).flatten(), k.flatten(), v.flatten()])

    qkv = torch.randn(10, 54, dtype=torch.float64)
    for one, other in zip(gradients(ours, qkv), gradients(plain, qkv), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)  # the angles are fp32


@pytest.mark.parametrize(("name", "approximate"), [("gelu", "none"), ("gelu_tanh", "tanh")])
def test_gated(name: str, approximate: str) -> None:
    def plain(x: Tensor) -> Tensor:
        return F.gelu(x[:, :5], approximate=approximate) * x[:, 5:]

    agree(lambda x: geglu(x, name), plain, torch.randn(7, 10, dtype=torch.float64))  # type: ignore[arg-type]


def test_token_loss_in_fp32_is_cross_entropy() -> None:
    labels = torch.tensor([3, 0, 10, 4])
    agree(
        lambda x: token_loss(x, labels),
        lambda x: F.cross_entropy(x, labels, reduction="sum"),
        torch.randn(4, 11),
    )


def head() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features, output matrix, bias and labels of 203 predictions, five of them padding."""
    features = torch.randn(203, 40).bfloat16()
    return features, torch.randn(311, 40) * 0.5, torch.randn(311), torch.randint(0, 311, (198,))


def test_the_loss_of_the_head_in_bf16_is_cross_entropy_to_rounding() -> None:
    *inputs, labels = head()
    exact = [x.double().requires_grad_() for x in inputs]
    want = F.cross_entropy(F.linear(*exact)[:198], labels, reduction="sum") / 7
    want.backward()
    ours = [x.clone().requires_grad_() for x in inputs]
    with torch.autocast("cpu", torch.bfloat16):
        loss = head_loss(ours[0], ours[1], ours[2], labels) / 7
    loss.backward()
    assert loss.dtype == torch.float32
    assert float(loss.detach()) == pytest.approx(float(want.detach()), rel=1e-3)
    for one, other in zip(ours, exact, strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert one.grad.dtype == one.dtype
        assert (one.grad.double() - other.grad).norm() / other.grad.norm() < 6e-3
    assert not ours[0].grad[198:].any()  # type: ignore[index]


def test_the_loss_of_the_head_in_fp32_is_that_of_its_logits() -> None:
    features, weight, bias, labels = head()
    agree(
        lambda x: head_loss(x, weight, bias, labels),
        lambda x: F.cross_entropy(F.linear(x, weight, bias)[:198], labels, reduction="sum"),
        features.float(),
    )


def test_a_hopeless_guess_has_a_finite_loss() -> None:
    features = torch.tensor([[1.0]], dtype=torch.bfloat16).requires_grad_()
    weight = torch.tensor([[0.0], [300.0]])
    with torch.autocast("cpu", torch.bfloat16):
        loss = head_loss(features, weight, torch.zeros(2), torch.tensor([0]))
    loss.backward()
    assert 80 < float(loss.detach()) <= 300
    assert features.grad is not None
    assert features.grad.tolist() == [[300.0]]


@pytest.mark.parametrize("chance", [0.1, 0.5])
def test_dropout_drops_its_share_keeps_the_mean_and_repeats(chance: float) -> None:
    x = torch.full((400, 501), 2.0, requires_grad=True)
    torch.manual_seed(1)
    once = drop(x, chance, training=True)
    again = drop(x, chance, training=True)
    torch.manual_seed(1)
    assert torch.equal(once, drop(x, chance, training=True))
    assert not torch.equal(once, again)
    # 200,000 draws: five deviations are 0.0056.
    assert float((once == 0).float().mean()) == pytest.approx(chance, abs=0.0056 + 1 / 512)
    assert float(once.mean().detach()) == pytest.approx(2.0, abs=0.03)
    once.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad * 2.0, once.detach())
    assert drop(x, chance, training=False) is x
    assert drop(x, 0.0, training=True) is x


def test_logits_beyond_the_labels_count_for_nothing() -> None:
    exact, labels = torch.randn(11, 37), torch.randint(37, (7,))
    padded, plain = (exact[:rows].clone().requires_grad_() for rows in (11, 7))
    losses = [token_loss(logits, labels) for logits in (padded, plain)]
    torch.stack(losses).sum().backward()
    assert torch.equal(losses[0], losses[1])
    assert torch.equal(padded.grad[:7], plain.grad)
    assert not padded.grad[7:].any()


def test_the_gradient_of_a_tied_table_is_whole_and_that_of_head_and_lookup() -> None:
    """The lookup adds its rows to the gradient of the head, which must come out as if both were added in full."""
    module = build_masked_lm(
        BertConfig(vocab_size=97, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24), 0
    )
    ids = torch.randint(5, 30, (3, 11))
    weights = torch.randn(33, 97)

    def gradient(train: bool) -> Tensor:
        module.zero_grad()
        module.train(train)  # a model that is not being trained looks up as torch does
        hidden = module.embed_tokens(ids)
        for _ in range(2):
            (module.predict(hidden) * weights).sum().backward(retain_graph=True)
        assert module.word.weight.grad is not None
        return module.word.weight.grad

    once = gradient(True)
    assert once.layout == torch.strided
    torch.testing.assert_close(once, gradient(False), atol=1e-5, rtol=1e-5)
    assert torch.equal(once, gradient(True))


def test_norm_keeps_bf16_and_its_statistics_do_not_suffer() -> None:
    layer = torch.nn.LayerNorm(31)
    torch.nn.init.normal_(layer.weight)
    x = (torch.randn(7, 31) * 5 + 100).bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        out = layer_norm(x, layer)
    assert out.dtype == torch.bfloat16
    exact = F.layer_norm(x.double(), (31,), layer.weight.double(), layer.bias.double(), layer.eps)
    torch.testing.assert_close(out.double(), exact, atol=1e-2, rtol=2**-8)
