"""Examples that share a row do not see each other: packed equals one at a time."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from maskling.model.attention import BMM_LONGEST, AttentionPattern, kernel_name
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM

MODELS: dict[str, ModelConfig] = {
    "bert": BertConfig(hidden_size=24, num_layers=2, num_heads=3, intermediate_size=34, vocab_size=83),
    "modern": ModernConfig(
        hidden_size=28, num_layers=4, num_heads=2, intermediate_size=34, vocab_size=83, local_window=6, global_every=2
    ),
}


def model(name: str) -> MaskedLM:
    module = build_masked_lm(MODELS[name], seed=1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)) * 0.15)
    return module.eval()


def pack(rows: list[list[int]], seq: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random examples of the given lengths: input_ids, position_ids, token_type_ids, example_ids (rows, seq)."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(rows), seq, dtype=torch.long)
    positions, types = torch.zeros_like(ids), torch.zeros_like(ids)
    examples = torch.full_like(ids, -1)
    for row, lengths in enumerate(rows):
        column = 0
        for number, length in enumerate(lengths):
            here = slice(column, column + length)
            ids[row, here] = torch.randint(1, 83, (length,), generator=generator)
            positions[row, here] = torch.arange(length)
            types[row, here] = (torch.arange(length) > length // 2).long()
            examples[row, here] = number
            column += length
    return ids, positions, types, examples


def alone(module: MaskedLM, packed: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """Each example in a row of its own, put back where it stood; padding is 0."""
    ids, positions, types, examples = packed
    out = torch.zeros(*ids.shape, module.config.hidden_size)
    for row in range(len(ids)):
        for number in examples[row].unique():
            if number >= 0:
                here = examples[row] == number
                whole = AttentionPattern.from_example_ids(torch.zeros(1, int(here.sum()), dtype=torch.int32))
                assert whole.full
                out[row, here] = module(ids[row, here][None], positions[row, here][None], types[row, here][None], whole)
    return out


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("gradients", [True, False])
@given(
    rows=st.lists(st.lists(st.integers(1, 9), min_size=0, max_size=3), min_size=1, max_size=3),
    seed=st.integers(0, 99),
)
def test_packed_equals_one_at_a_time(name: str, gradients: bool, rows: list[list[int]], seed: int) -> None:
    module = model(name)
    packed = pack(rows, seq=29, seed=seed)
    ids, positions, types, examples = packed
    with torch.set_grad_enabled(gradients):
        together = module(ids, positions, types, AttentionPattern.from_example_ids(examples))
        apart = alone(module, packed)
    real = examples >= 0
    torch.testing.assert_close(together[real], apart[real], atol=2e-6, rtol=1e-5)
    assert torch.isfinite(together).all()


@pytest.mark.parametrize("name", MODELS)
def test_packed_gradients_equal_those_of_one_at_a_time_and_padding_gives_none(name: str) -> None:
    module = model(name)
    ids, positions, types, examples = packed = pack([[9, 5, 7], [11]], seq=23, seed=4)
    weight = torch.randn(2, 23, module.config.hidden_size, generator=torch.Generator().manual_seed(8))
    weight[examples < 0] = 0
    (module(ids, positions, types, AttentionPattern.from_example_ids(examples)) * weight).sum().backward()
    together = {key: parameter.grad for key, parameter in module.named_parameters() if parameter.grad is not None}
    module.zero_grad()
    (alone(module, packed) * weight).sum().backward()
    assert len(together) > 10
    for key, gradient in together.items():
        torch.testing.assert_close(gradient, module.get_parameter(key).grad, atol=2e-5, rtol=1e-4)


def test_what_is_in_the_padding_changes_nothing() -> None:
    module = model("modern")
    ids, positions, types, examples = pack([[4, 5], [8]], seq=13, seed=2)
    pattern = AttentionPattern.from_example_ids(examples)
    before = module(ids, positions, types, pattern)
    ids[examples < 0] = 77
    after = module(ids, positions, types, pattern)
    assert torch.equal(before[examples >= 0], after[examples >= 0])
    assert not torch.equal(before[examples < 0], after[examples < 0])


def test_a_mask_by_hand() -> None:
    pattern = AttentionPattern.from_example_ids(torch.tensor([[0, 0, 0, 1, -1], [0, 0, 0, 0, 0]]))
    assert not pattern.full
    everything = pattern.mask()
    near = pattern.mask(window=2)
    assert everything is not None
    assert near is not None
    assert everything[0, 0].int().tolist() == [
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    assert everything[1, 0].all()
    assert near[0, 0, 0].int().tolist() == [1, 1, 0, 0, 0]
    assert near[1, 0, 2].int().tolist() == [0, 1, 1, 1, 0]
    bias = pattern.bias(2, torch.bfloat16)
    assert bias is not None
    assert torch.equal(bias == 0, near)
    assert torch.equal(bias == -torch.inf, ~near)


def test_full_rows_need_no_mask_unless_a_window_hides_something() -> None:
    full = AttentionPattern.from_example_ids(torch.zeros(3, 7))
    assert full.full
    assert full.mask() is None
    assert full.mask(window=12) is None
    window = full.mask(window=10)
    assert window is not None
    assert window.shape == (1, 1, 7, 7)
    assert int((~window).sum()) == 2


def test_runs_of_tokens_for_variable_length_kernels() -> None:
    pattern = AttentionPattern.from_example_ids(torch.tensor([[0, 0, 1, -1], [0, 0, 0, 0], [0, 1, 1, 1]]))
    starts, longest = pattern.cu_seqlens()
    assert starts.dtype == torch.int32
    assert starts.tolist() == [0, 2, 3, 4, 8, 9, 12]
    assert longest == 4


def test_the_kernel_that_is_named_is_the_kernel_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    from maskling.model import attention

    ran = []
    monkeypatch.setattr(attention, "bmm_attention", lambda q, *_: (ran.append("bmm"), q)[1])
    monkeypatch.setattr(attention.F, "scaled_dot_product_attention", lambda q, *_, **__: (ran.append("sdpa"), q)[1])
    for seq in (8, BMM_LONGEST, BMM_LONGEST + 1):
        for training in (True, False):
            qkv = torch.zeros(seq, 12, requires_grad=training)
            pattern = AttentionPattern.from_example_ids(torch.zeros(1, seq))
            attention.attend(qkv, pattern, 2, window=None, dropout=0.0, rotation=None)
            assert ran.pop() == kernel_name(torch.device("cpu"), seq, training)
    assert kernel_name(torch.device("cuda"), 8) == "sdpa"
