"""Updates compared with formulas of the papers, and state that survives saving and loading."""

from __future__ import annotations

import pytest
import torch

from maskling.errors import CheckpointError
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModernConfig
from maskling.model.masked_lm import MaskedLM
from maskling.train.optimizer import OPTIMIZERS, AdamW, Bert2018, Muon, OptimizerSettings, hidden_matrices


def tiny(kind: str = "bert") -> MaskedLM:
    sizes = {
        "hidden_size": 6,
        "num_layers": 2,
        "num_heads": 1,
        "intermediate_size": 10,
        "vocab_size": 31,
        "pair_head": True,
    }
    return build_masked_lm(BertConfig(max_positions=7, **sizes) if kind == "bert" else ModernConfig(**sizes), seed=3)


def gradients(module: MaskedLM, seed: int) -> dict[str, torch.Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return {name: torch.randn(p.shape, generator=draws) for name, p in module.named_parameters()}


def give(module: MaskedLM, grads: dict[str, torch.Tensor]) -> None:
    for name, parameter in module.named_parameters():
        parameter.grad = grads[name].clone()


@pytest.mark.parametrize("corrected", [True, False], ids=["adamw", "bert2018"])
def test_adam_with_and_without_bias_correction_is_the_formula(corrected: bool):
    """Kingma and Ba 2015, algorithm 1, with decay as Loshchilov and Hutter; BERT leaves out the two corrections."""
    module = tiny()
    kind = AdamW if corrected else Bert2018
    settings = kind(lr=0.01, beta1=0.8, beta2=0.95, eps=1e-3, weight_decay=0.5)
    optimizer = settings.build(module)
    expected = {name: p.detach().double().clone() for name, p in module.named_parameters()}
    m = {name: torch.zeros_like(p) for name, p in expected.items()}
    v = {name: torch.zeros_like(p) for name, p in expected.items()}
    for step, factor in enumerate((1.0, 0.5, 0.25), start=1):
        grads = gradients(module, step)
        give(module, grads)
        optimizer.step(factor)
        for name, weight in expected.items():
            grad = grads[name].double()
            m[name] = 0.8 * m[name] + 0.2 * grad
            v[name] = 0.95 * v[name] + 0.05 * grad**2
            one, two = (1 - 0.8**step, 1 - 0.95**step) if corrected else (1, 1)
            update = (m[name] / one) / ((v[name] / two).sqrt() + 1e-3)
            # Biases and norms are vectors, and are not decayed.
            decay = 0.5 if weight.ndim > 1 else 0.0
            expected[name] = weight - 0.01 * factor * (update + decay * weight)
    for name, parameter in module.named_parameters():
        assert torch.allclose(parameter.detach().double(), expected[name], atol=1e-6), name


@pytest.mark.parametrize("kind", ["bert", "modern"])
def test_hidden_matrices_leave_out_embeddings_head_and_vectors(kind: str):
    module = tiny(kind)
    found = hidden_matrices(module)
    assert len(found) == 2 * 4  # of each layer: qkv, attention out, up, down
    assert all("layers." in name and parameter.ndim == 2 for name, parameter in found.items())


def test_muon_turns_hidden_matrices_and_adam_moves_the_rest():
    module = tiny("modern")
    settings = Muon(lr=0.01, weight_decay=0.0)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    grads = gradients(module, 1)
    give(module, grads)
    settings.build(module).step(1.0)
    alone = tiny("modern")
    give(alone, grads)
    AdamW(lr=0.01, weight_decay=0.0).build(alone).step(1.0)
    adam = dict(alone.named_parameters())
    hidden = hidden_matrices(module)
    for name, parameter in module.named_parameters():
        moved = (parameter - before[name]).detach()
        if name not in hidden:
            assert torch.equal(parameter, adam[name]), name
            continue
        # An orthogonal matrix of any shape, scaled so that its entries are about as large as Adam's: 0.2.
        singular = torch.linalg.svdvals(moved)
        assert singular.min() > 0.5 * singular.max(), name
        assert 0.1 < float(moved.square().mean().sqrt()) / 0.01 < 0.3, name


@pytest.mark.parametrize("settings", OPTIMIZERS.values(), ids=list(OPTIMIZERS))
def test_state_taken_out_and_put_back_goes_on_to_the_same_bits(settings: type[OptimizerSettings]):
    straight, stopped = tiny(), tiny()
    one, other = settings().build(straight), settings().build(stopped)
    for step in range(3):
        for module, optimizer in ((straight, one), (stopped, other)):
            give(module, gradients(module, step))
            optimizer.step(0.7)
    state = {name: value.clone() for name, value in other.state().items()}
    gone_on = settings().build(stopped)
    gone_on.load_state(state)
    for module, optimizer in ((straight, one), (stopped, gone_on)):
        give(module, gradients(module, 9))
        optimizer.step(0.3)
    for (name, here), there in zip(straight.named_parameters(), stopped.parameters(), strict=True):
        assert torch.equal(here, there), name


def test_state_of_another_model_is_refused():
    optimizer = AdamW().build(tiny())
    module = tiny("modern")
    other = AdamW().build(module)
    give(module, gradients(module, 1))
    other.step(1.0)
    with pytest.raises(CheckpointError, match="disagree"):
        optimizer.load_state(other.state())
