"""A module that only answers says in bf16 what it said before, but for rounding; one that is mapped, the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import maskling
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.forward import batches_by_length
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.device import pick_device
from maskling.model.folder import SAFETENSORS, read_folder
from maskling.model.inference_weights import PackedLinear, _can_pack, optimize_for_inference
from maskling.model.masked_lm import MaskedLM
from small_models import bert, modern, wordpiece

SIZES = {"vocab_size": 211, "hidden_size": 96, "num_layers": 3, "num_heads": 6, "intermediate_size": 160}
SHAPES = [
    BertConfig(**SIZES, initializer_range=0.2),
    BertConfig(**SIZES, initializer_range=0.2, activation="gelu_tanh"),
    ModernConfig(**SIZES, initializer_range=0.2),
]


def answers(module: MaskedLM, dtype: str) -> tuple[Tensor, Tensor]:
    """Hidden states (tokens, width) and logits of two padded rows."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 211, (2, 13), generator=generator)
    real = torch.arange(13) < torch.tensor([[13], [7]])
    with torch.inference_mode(), pick_device("cpu", dtype).autocast():
        pattern = AttentionPattern.from_attention_mask(real.int())
        hidden = module(ids, torch.arange(13).expand(2, 13), torch.zeros_like(ids), pattern)
        return hidden[real].float(), module.predict(hidden[real]).float()


@pytest.mark.parametrize("config", SHAPES, ids=["bert", "bert-tanh", "modern"])
def test_a_settled_module_says_in_bf16_what_autocast_says(config: ModelConfig) -> None:
    expected, logits = answers(build_masked_lm(config, 3), "fp32")
    cast, _ = answers(build_masked_lm(config, 3), "bf16")
    module = build_masked_lm(config, 3)
    optimize_for_inference(module, pick_device("cpu", "bf16"))
    found, guesses = answers(module, "bf16")
    assert found.shape == expected.shape
    # No farther from fp32 than a half more than autocast is.
    assert (found - expected).norm() < 1.5 * (cast - expected).norm()
    assert torch.cosine_similarity(found, expected).min() > 0.999
    assert torch.cosine_similarity(guesses, logits).min() > 0.999
    assert {p.dtype for p in module.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad for p in module.parameters())


@pytest.mark.skipif(not _can_pack(), reason="this processor or torch has no packed bf16 products")
def test_packed_layers_fuse_what_follows_them() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(48, 80, dtype=torch.bfloat16)
    packed, x, other = PackedLinear(linear), torch.randn(5, 48, dtype=torch.bfloat16), torch.randn(5, 80)
    plain = torch.nn.functional.linear(x.float(), linear.weight.float(), linear.bias.float())
    for found, expected in (
        (packed(x), plain),
        (packed.with_gelu(x, "gelu"), torch.nn.functional.gelu(plain)),
        (packed.with_gelu(x, "gelu_tanh"), torch.nn.functional.gelu(plain, approximate="tanh")),
        (packed.with_residual(x, other.bfloat16()), plain + other.bfloat16().float()),
    ):
        torch.testing.assert_close(found.float(), expected.detach(), atol=2e-2, rtol=1e-2)


def test_settling_draws_nothing_from_torch() -> None:
    module = build_masked_lm(SHAPES[0], 3)
    before = torch.random.get_rng_state()
    optimize_for_inference(module, pick_device("cpu", "bf16"))
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("make", [bert, modern], ids=["bert", "modern"])
def test_a_mapped_folder_is_the_same_model_and_stays_as_it_is(make: object, tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(make(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    before = (tmp_path / "model" / SAFETENSORS).read_bytes()
    copied, mapped = read_folder(tmp_path / "model"), read_folder(tmp_path / "model", mmap=True)
    assert mapped.missing == copied.missing
    for (name, one), (_, other) in zip(copied.module.named_parameters(), mapped.module.named_parameters(), strict=True):
        assert torch.equal(one, other), name
    with torch.no_grad():
        for parameter in mapped.module.parameters():
            parameter.fill_(1.0)
    assert (tmp_path / "model" / SAFETENSORS).read_bytes() == before
    if (maps := Path("/proc/self/maps")).exists():
        again = read_folder(tmp_path / "model", mmap=True).module
        assert file_of(again.word.weight, maps) == SAFETENSORS
        assert file_of(copied.module.word.weight, maps) != SAFETENSORS


def file_of(tensor: Tensor, maps: Path) -> str:
    """The name of the file that a tensor is mapped from, empty if it is in memory of its own."""
    for line in maps.read_text().splitlines():
        span, *_, name = line.split(maxsplit=5)
        first, end = (int(number, 16) for number in span.split("-"))
        if first <= tensor.data_ptr() < end:
            return Path(name).name
    return ""


def test_vectors_and_guesses_in_bf16_are_those_of_fp32(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(bert(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    exact, fast = (maskling.load(tmp_path / "model", "cpu", dtype) for dtype in ("fp32", "bf16"))
    texts = ["the quick brown fox", "a souvenir of paris", "the dog hears it", "fox"] * 3
    one, other = exact.embed(texts), fast.embed(texts)
    cosine = (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.999
    text = "the quick [MASK] jumps over the lazy dog"
    assert exact.fill(text)[0][0].word == fast.fill(text)[0][0].word


def test_a_batch_ends_where_its_padding_would_cost_more_than_another() -> None:
    lengths = [3, 90, 90, 88, 3, 3, 89, 2]
    found = [sorted(one.tolist()) for one in batches_by_length(lengths, 4096, overhead=50)]
    assert found == [[1, 2, 3, 6], [0, 4, 5, 7]]
    assert [len(one) for one in batches_by_length(lengths, 180, overhead=50)] == [2, 2, 4]
    assert list(batches_by_length([], 100)) == []
