"""Layers that forget give the same gradients, bit for bit, and keep less."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskling.model.activation_checkpointing import SameRandomState, enable_activation_checkpointing
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.device import pick_device

SIZES = {"vocab_size": 103, "hidden_size": 40, "num_heads": 4, "num_layers": 5, "intermediate_size": 88}
DROPS = {"dropout": 0.1, "attention_dropout": 0.1}
LONG = {"max_positions": 600}
SHAPES = [
    BertConfig(**SIZES, **LONG),
    BertConfig(**SIZES, **LONG, **DROPS),
    ModernConfig(**SIZES),
    ModernConfig(**SIZES, **DROPS),
]


def gradients(config: ModelConfig, seq: int, dtype: str, forgetful: bool) -> tuple[list[Tensor], int]:
    """The gradient of every weight, and the bytes that were kept for it, weights left out."""
    module = build_masked_lm(config, 3).train()
    if forgetful:
        enable_activation_checkpointing(module)
    weights = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(0, 103, (6, seq), generator=torch.Generator().manual_seed(1))
    pattern = AttentionPattern.from_example_ids(torch.arange(seq).expand(6, seq) // (seq // 2 + 1))
    torch.manual_seed(7)
    with pick_device("cpu", dtype).autocast(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        hidden = module(ids, torch.arange(seq).expand(6, seq), torch.zeros_like(ids), pattern)
    size = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    hidden.float().square().sum().backward()
    return [parameter.grad.to_dense() for parameter in module.parameters() if parameter.grad is not None], size


@pytest.mark.parametrize("config", SHAPES, ids=["bert", "bert-dropout", "modern", "modern-dropout"])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
@pytest.mark.parametrize("seq", [48, 520])
def test_gradients_are_the_same_to_the_bit_and_less_is_kept(config: ModelConfig, dtype: str, seq: int) -> None:
    plain, much = gradients(config, seq, dtype, forgetful=False)
    again, little = gradients(config, seq, dtype, forgetful=True)
    assert len(plain) == len(again) > 5
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))
    # Each of five layers keeps its input alone.
    assert little < much / 3


def test_weights_keep_their_names_and_answers_stay() -> None:
    module = build_masked_lm(SHAPES[0], 3).eval()
    names = list(module.state_dict())
    ids = torch.arange(11)[None]
    with torch.no_grad():
        before = module(ids, ids, None, AttentionPattern.from_example_ids(torch.zeros(1, 11)))
        enable_activation_checkpointing(module)
        after = module(ids, ids, None, AttentionPattern.from_example_ids(torch.zeros(1, 11)))
    assert torch.equal(before, after)
    assert list(module.state_dict()) == names


def test_a_generator_that_torch_does_not_put_back_draws_the_same_again() -> None:
    def drawn(first: Tensor) -> Tensor:
        return first + torch.rand(5)

    draws = SameRandomState(drawn, torch.get_rng_state, torch.set_rng_state)
    torch.manual_seed(3)
    once = draws(torch.zeros(5))
    between = torch.rand(5)
    state = torch.get_rng_state()
    assert torch.equal(draws(torch.zeros(5)), once)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(between, once)
