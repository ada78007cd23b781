"""What stands around the variable-length kernel of a GPU: with a slow kernel in its place, it agrees with the mask."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from maskling.model import attention_kernels
from maskling.model.attention import AttentionPattern, attend, kernel_name, token_runs
from maskling.model.attention_kernels import make_rotation


def slow_kernel(
    q: Tensor, k: Tensor, v: Tensor, starts: Tensor, _: Tensor, longest: int, __: int, *,
    scale: float, window_size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """torch.nn.attention.varlen.varlen_attn from its documentation: (tokens, heads, size) each."""
    parts = []
    for first, end in zip(starts.tolist(), starts.tolist()[1:], strict=False):
        assert end - first <= longest
        scores = torch.einsum("ihd,jhd->hij", q[first:end], k[first:end]) * scale
        if window_size != (-1, -1):
            far = (torch.arange(end - first)[:, None] - torch.arange(end - first)).abs() > window_size[0]
            scores = scores.masked_fill(far, -torch.inf)
        parts.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v[first:end]))
    return torch.cat(parts)


EXAMPLES = torch.tensor([[0] * 9 + [1] * 2, [0] * 7 + [-1] * 4, [0] * 1 + [1] * 6 + [2] * 4])


@pytest.mark.parametrize("window", [None, 6])
@pytest.mark.parametrize("turns", [False, True], ids=["plain", "rotary"])
def test_runs_see_what_a_mask_lets_them_see(monkeypatch: pytest.MonkeyPatch, window: int | None, turns: bool) -> None:
    monkeypatch.setattr(attention_kernels, "_kernel", slow_kernel)
    generator = torch.Generator().manual_seed(0)
    qkv = torch.randn(33, 3 * 12, generator=generator, requires_grad=True)
    weight = torch.randn(33, 12, generator=generator)
    turn = make_rotation(torch.arange(11).expand(3, 11), 4, 10_000.0) if turns else None
    pattern = AttentionPattern.from_example_ids(EXAMPLES)
    expected = attend(qkv, pattern, 3, window=window, dropout=0.0, rotation=turn)
    (grad,) = torch.autograd.grad((expected * weight).sum(), qkv)
    found = attention_kernels.varlen_attention(qkv, pattern.cu_seqlens(), 3, window, turn)
    torch.testing.assert_close(found, expected)
    (other,) = torch.autograd.grad((found * weight).sum(), qkv)
    torch.testing.assert_close(other, grad)


def test_runs_are_counted_where_the_ids_are() -> None:
    starts, longest = token_runs(EXAMPLES)
    assert starts.dtype == torch.int32
    assert starts.tolist() == [0, 9, 11, 18, 22, 23, 29, 33]
    assert longest == 11
    assert token_runs(torch.zeros(0, 5, dtype=torch.int64)).starts.tolist() == [0]


def test_the_kernel_is_asked_for_only_where_it_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda, half = torch.device("cuda"), torch.bfloat16
    monkeypatch.setattr(attention_kernels, "_searched", True)
    monkeypatch.setattr(attention_kernels, "_kernel", slow_kernel)
    assert kernel_name(cuda, 128, dtype=half) == "varlen"
    assert kernel_name(cuda, 128, dtype=torch.float32) == "sdpa"
    assert kernel_name(cuda, 128, dtype=half, dropout=0.1) == "sdpa"
    # FlashAttention's own limits.
    assert [kernel_name(cuda, 128, dtype=half, head_size=size) for size in (26, 264)] == ["sdpa", "sdpa"]
    assert kernel_name(torch.device("cpu"), 128, dtype=half) == "bmm"


def of_an_older_torch(q: Tensor, k: Tensor, v: Tensor, starts: Tensor, _: Tensor, longest: int, __: int) -> None:
    """Without a scale."""


@pytest.mark.parametrize(
    ("found", "capability", "name"),
    [
        (slow_kernel, (9, 0), "varlen"),
        (slow_kernel, (7, 5), "sdpa"),
        (of_an_older_torch, (9, 0), "sdpa"),
        (None, (9, 0), "sdpa"),
    ],
)
def test_the_kernel_is_looked_for_in_torch(
    monkeypatch: pytest.MonkeyPatch, found: object, capability: tuple[int, int], name: str
) -> None:
    monkeypatch.setattr(attention_kernels, "_searched", False)
    monkeypatch.setattr(attention_kernels, "_kernel", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _=None: capability)
    module = SimpleNamespace(varlen_attn=found) if found else SimpleNamespace()
    monkeypatch.setattr(attention_kernels.importlib, "import_module", lambda _: module)
    assert kernel_name(torch.device("cuda"), 128, dtype=torch.bfloat16) == name
