"""Weights that are not what a folder claims: quantized, not finite, or shared by more names than there are numbers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import small_models
from maskling.errors import ModelError
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig
from maskling.model.folder import read_folder, write_weights

BERT = BertConfig(hidden_size=20, num_layers=2, num_heads=2, intermediate_size=26, vocab_size=53, max_positions=31)
LINEAR = "bert.encoder.layer.0.output.dense"
Weights = dict[str, Tensor]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_weights(build_masked_lm(BERT, seed=3), tmp_path)
    return tmp_path


def changed(folder: Path, change: Callable[[Weights], object], **config: Any) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    hf_config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(hf_config | config))


def refused(folder: Path) -> str:
    with pytest.raises(ModelError) as error:
        read_folder(folder, mmap=True)
    assert "\n" not in str(error.value)
    return str(error.value)


def to_int8(weights: Weights) -> None:
    """As bitsandbytes stores a linear layer in 8 bits."""
    name = f"{LINEAR}.weight"
    scale = weights[name].abs().amax(1)
    weights[f"{LINEAR}.SCB"] = scale
    weights[name] = (weights[name] / scale[:, None] * 127).round().to(torch.int8)


@pytest.mark.parametrize("method", ["gptq", "awq", "bitsandbytes", "fp8", "compressed-tensors", "torchao", "quanto"])
def test_a_quantization_config_is_refused_by_name(folder: Path, method: str):
    changed(folder, lambda _: None, quantization_config={"quant_method": method, "bits": 4})
    assert f"quantization_config ({method})" in refused(folder)


@pytest.mark.parametrize("value", [{}, [], "int8", {"load_in_8bit": True}])
def test_any_other_quantization_config_is_refused(folder: Path, value: object):
    changed(folder, lambda _: None, quantization_config=value)
    assert "weights are quantized" in refused(folder)


def test_no_quantization_is_no_quantization(folder: Path):
    changed(folder, lambda _: None, quantization_config=None)
    assert read_folder(folder).missing == ()


@pytest.mark.parametrize(
    "ending",
    [
        *(
            ".SCB",
            ".weight.absmax",
            ".weight.quant_map",
            ".weight.quant_state.bitsandbytes__nf4",
            ".qweight",
            ".qzeros",
        ),
        *(".scales", ".g_idx", ".weight_packed", ".weight_scale", ".weight_scale_inv", ".weight_zero_point"),
    ],
)
def test_what_belongs_to_quantized_weights_is_refused_without_a_config(folder: Path, ending: str):
    def quantize(weights: Weights) -> None:
        weights[LINEAR + ending] = torch.ones(3)

    changed(folder, quantize)
    assert LINEAR + ending in refused(folder)


def test_weights_of_bitsandbytes_are_refused(folder: Path):
    changed(folder, to_int8)
    assert "quantized" in refused(folder)


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32, torch.int64, torch.bool, torch.complex64])
def test_numbers_that_are_no_weights_are_refused(folder: Path, dtype: torch.dtype):
    def cast(weights: Weights) -> None:
        weights[f"{LINEAR}.weight"] = weights[f"{LINEAR}.weight"].to(dtype)

    changed(folder, cast)
    assert f"weight {LINEAR}.weight is of type {str(dtype)[6:]}" in refused(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn])
def test_other_floats_are_read(folder: Path, dtype: torch.dtype):
    before = load_file(folder / "model.safetensors")
    changed(folder, lambda weights: weights.update({name: value.to(dtype) for name, value in weights.items()}))
    found = read_folder(folder, mmap=True).module.to_hugging_face()
    assert all(torch.equal(value, before[name].to(dtype).float()) for name, value in found.items())


def test_positions_that_old_folders_store_as_integers_are_no_weights(folder: Path):
    changed(folder, lambda weights: weights.update({"bert.embeddings.position_ids": torch.arange(31)[None]}))
    assert read_folder(folder).unexpected == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_not_finite_is_named(folder: Path, value: float, dtype: torch.dtype):
    def spoil(weights: Weights) -> None:
        weights[f"{LINEAR}.weight"] = weights[f"{LINEAR}.weight"].to(dtype)
        weights[f"{LINEAR}.weight"][3, 4] = value

    changed(folder, spoil)
    assert f"weight {LINEAR}.weight has values that are not finite" in refused(folder)


def test_large_weights_whose_sum_overflows_are_read(folder: Path):
    changed(folder, lambda weights: weights[f"{LINEAR}.weight"].fill_(3e38))
    read_folder(folder)


@pytest.mark.parametrize(("key", "value"), [("norm_eps", 1e300), ("global_rope_theta", 1e308), ("norm_eps", 1e999)])
def test_a_config_of_absurd_values_is_refused(tmp_path: Path, key: str, value: float):
    write_weights(small_models.modern(small_models.wordpiece(tmp_path / "words")), tmp_path)
    hf_config = json.loads((tmp_path / "config.json").read_text())
    hf_config.pop("rope_parameters")
    (tmp_path / "config.json").write_text(json.dumps(hf_config | {key: value}))
    assert key in refused(tmp_path)


def claims(folder: Path, rows: int, weights: Weights) -> str:
    """What a pytorch_model.bin is refused with whose config.json claims a vocabulary of `rows`."""
    changed(folder, lambda _: None, vocab_size=rows)
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    return refused(folder)


def test_a_tensor_of_stride_zero_holds_one_number(folder: Path):
    weights = load_file(folder / "model.safetensors")
    rows = 50_000_000
    weights["bert.embeddings.word_embeddings.weight"] = torch.zeros(1).expand(rows, 20)
    text = claims(folder, rows, weights)
    assert "does not hold as many numbers" in text


def test_names_that_share_their_storage_count_once(folder: Path):
    weights = load_file(folder / "model.safetensors")
    one = torch.zeros(1_000_000, 1)
    many = {f"extra{index}": one for index in range(60)}
    assert "do not belong together" in claims(folder, 2_000_000, weights | many)


def test_a_sparse_tensor_is_refused(folder: Path):
    weights = load_file(folder / "model.safetensors")
    rows = 10**9
    weights["bert.embeddings.word_embeddings.weight"] = torch.sparse_coo_tensor(
        torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), (rows, 20), check_invariants=False
    )
    claims(folder, rows, weights)


def test_a_refused_pickle_does_not_recommend_to_load_it_anyway(folder: Path):
    class Runs:
        def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
            return eval, ("1",)

    text = claims(folder, 53, {"a": Runs()})  # type: ignore[dict-item]
    assert "eval" in text
    assert "weights_only" not in text
