"""A configuration made into a module: how weights start, what a bad configuration is told, what it costs."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from maskling.config import Layer, Settings, one_of, resolve
from maskling.errors import ModelError, SettingsError
from maskling.model.attention import AttentionPattern
from maskling.model.bert import sinusoids
from maskling.model.build import build_masked_lm
from maskling.model.config import MODELS, BertConfig, ModernConfig, flops_per_token

BERT = BertConfig(hidden_size=64, num_layers=2, num_heads=2, intermediate_size=96, vocab_size=211, pair_head=True)
MODERN = ModernConfig(hidden_size=64, num_layers=8, num_heads=2, intermediate_size=96, vocab_size=211, pair_head=True)


class Recipe(Settings):
    model: one_of(MODELS) = BERT  # type: ignore[valid-type]


def deviation(values: torch.Tensor) -> float:
    return float(values.detach().std())


# A normal distribution cut at two deviations has this share of its deviation left.
CUT = 0.8796


def test_bert_starts_as_in_2018() -> None:
    module = build_masked_lm(BERT, seed=1)
    for name, value in module.named_parameters():
        if "norm" in name:
            assert (value == (1 if name.endswith("weight") else 0)).all(), name
        elif "bias" in name:
            assert (value == 0).all(), name
        else:
            assert value.abs().max() <= 0.04, name
            if value.numel() > 4000:
                assert deviation(value) == pytest.approx(0.02 * CUT, rel=0.05), name


def test_modern_starts_smaller_where_it_adds_to_the_sum() -> None:
    module = build_masked_lm(MODERN, seed=1)
    small = 0.02 / math.sqrt(2 * 8)
    for name, value in module.named_parameters():
        if value.ndim == 2 and value.numel() > 4000:
            want = small if name.endswith(("attention_out.weight", "down.weight", "transform.weight")) else 0.02
            assert deviation(value) == pytest.approx(want * CUT, rel=0.06), name
    assert not any(name.startswith("layers.0.attention_norm") for name, _ in module.named_parameters())


@pytest.mark.parametrize("config", [BERT, MODERN], ids=["bert", "modern"])
def test_weights_are_a_function_of_the_seed_alone(config: BertConfig | ModernConfig) -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = build_masked_lm(config, seed=7).state_dict()
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(2)
    same, other = build_masked_lm(config, seed=7).state_dict(), build_masked_lm(config, seed=8).state_dict()
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["word.weight"], other["word.weight"])


def test_sinusoidal_positions_have_the_deviation_of_the_others_and_know_distance() -> None:
    module = build_masked_lm(BERT.model_copy(update={"positions_start": "sinusoidal"}), seed=1)
    table = module.get_parameter("position.weight").detach()
    assert float(table.square().mean().sqrt()) == pytest.approx(0.02, rel=1e-3)
    # Their products depend on the distance alone, and fall with it at first.
    assert torch.allclose((table[3] * table[8]).sum(), (table[403] * table[408]).sum(), atol=1e-6)
    assert (table[0] * table[1]).sum() > (table[0] * table[5]).sum() > (table[0] * table[50]).sum()
    assert torch.equal(build_masked_lm(BERT, seed=1).get_parameter("word.weight"), module.get_parameter("word.weight"))
    odd = sinusoids(BertConfig(hidden_size=7, num_heads=1, max_positions=11), 1.0)
    assert odd.shape == (11, 7)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"kind": "bert", "num_heads": 7}, "num_heads = 7 does not divide hidden_size = 512"),
        ({"kind": "modern", "hidden_size": 12, "num_heads": 4}, "hidden_size / num_heads = 3 is odd"),
        ({"kind": "bert", "family": "roberta", "pair_head": True}, "a roberta folder cannot store it"),
        ({"kind": "modern", "max_position": 9}, "did you mean 'max_positions'"),
        ({"kind": "bert", "activation": "relu"}, "model.activation"),
    ],
)
def test_bad_settings_are_one_line(tree: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve(Recipe, [Layer("a file", {"model": tree})])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_needs_a_vocabulary() -> None:
    with pytest.raises(ModelError, match="vocab_size is 0"):
        build_masked_lm(BertConfig(), seed=0)
    config = BertConfig().with_vocabulary(31, pad=2, cls=3, sep=4)
    assert (config.vocab_size, config.pad_id, config.cls_id, config.sep_id) == (31, 2, 3, 4)


@pytest.mark.parametrize("config", [BERT, MODERN], ids=["bert", "modern"])
def test_a_model_without_a_pair_head_says_so(config: BertConfig | ModernConfig) -> None:
    first = torch.zeros(3, 64)
    assert build_masked_lm(config, seed=0).pair(first).shape == (3, 2)
    with pytest.raises(ModelError, match="no pair head"):
        build_masked_lm(config.model_copy(update={"pair_head": False}), seed=0).pair(first)


@pytest.mark.parametrize("config", [BERT, MODERN], ids=["bert", "modern"])
def test_dropout_acts_in_training_only_and_repeats_with_the_seed(config: BertConfig | ModernConfig) -> None:
    module = build_masked_lm(config.model_copy(update={"dropout": 0.2, "attention_dropout": 0.2}), seed=0)
    ids = torch.randint(5, 211, (2, 9))
    pattern = AttentionPattern.from_example_ids(torch.zeros(2, 9))

    def run(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        out: torch.Tensor = module(ids, torch.arange(9).expand(2, 9), None, pattern)
        return out

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))
    module.eval()
    assert torch.equal(run(1), run(2))


def test_operations_of_bert_by_the_published_formula() -> None:
    layers, width, vocab, seq = 12, 768, 30522, 512
    config = BertConfig(
        hidden_size=width, num_layers=layers, num_heads=12, intermediate_size=4 * width, vocab_size=vocab
    )
    want = 6 * 12 * layers * width**2 + 12 * layers * width * seq + 0.15 * 6 * (width * vocab + width**2)
    assert flops_per_token(config, seq) == pytest.approx(want)


def test_operations_of_modern_count_windows_and_gates() -> None:
    config = ModernConfig(
        hidden_size=8, num_layers=4, num_heads=2, intermediate_size=10, vocab_size=7, local_window=6, global_every=3
    )
    weights = 4 * 8 * 8 + 2 * 8 * 10 + 8 * 10
    seen = 100 + 7 + 7 + 100
    assert flops_per_token(config, 100, 0.5) == pytest.approx(6 * (4 * weights + 2 * 8 * seen + 0.5 * (64 + 56)))


def test_configurations_need_no_torch() -> None:
    modules = "maskling.model.config, maskling.model.hf_config, maskling.model.config"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
