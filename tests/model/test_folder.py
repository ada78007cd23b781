"""Model folders: written for transformers, read from it, refused when they are not what they seem."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.folder import read_folder, write_weights
from maskling.model.masked_lm import MaskedLM

BERT = BertConfig(hidden_size=20, num_layers=2, num_heads=2, intermediate_size=26, vocab_size=53, max_positions=31)
CONFIGS: dict[str, ModelConfig] = {
    "bert": BERT,
    "bert with pairs": BERT.model_copy(update={"pair_head": True, "activation": "gelu_tanh", "dropout": 0.1}),
    "roberta": BERT.model_copy(update={"family": "roberta", "position_offset": 2, "pad_id": 1, "type_vocab_size": 1}),
    "xlm-roberta": BERT.model_copy(update={"family": "xlm-roberta", "position_offset": 2, "pad_id": 1}),
    "modern": ModernConfig(
        hidden_size=20, num_layers=5, num_heads=2, intermediate_size=26, vocab_size=53, global_every=2,
        local_window=8, local_rope_theta=123.0, global_rope_theta=4567.0, cls_id=4, sep_id=5,
    ),
    "modern with pairs": ModernConfig(
        hidden_size=20, num_layers=2, num_heads=2, intermediate_size=26, vocab_size=53, pair_head=True, cls_id=4
    ),
}  # fmt: skip


def logits(module: MaskedLM, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        positions = torch.arange(ids.shape[1]).expand(ids.shape)
        return module.eval().predict(
            module(ids, positions, None, AttentionPattern.from_example_ids(torch.zeros(ids.shape)))
        )


def written(folder: Path, name: str = "bert") -> MaskedLM:
    module = build_masked_lm(CONFIGS[name], seed=3)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    write_weights(module, folder)
    return module


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    tree = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in tree.items() if value != "absent"}))


@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_written_is_read_back_to_the_bit(tmp_path: Path, name: str) -> None:
    module = written(tmp_path, name)
    loaded = read_folder(tmp_path)
    assert (loaded.missing, loaded.unexpected) == ((), ())
    # BERT's files say nothing of the special tokens; everything else comes back.
    assert loaded.config == module.config
    state = module.state_dict()
    assert set(state) == set(loaded.module.state_dict())
    for key, value in loaded.module.state_dict().items():
        assert torch.equal(value, state[key]), key


@pytest.mark.parametrize("name", CONFIGS)
def test_transformers_opens_what_is_written_and_calculates_the_same(tmp_path: Path, name: str) -> None:
    module = written(tmp_path, name)
    peer, report = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert set(report["unexpected_keys"]) <= {
        "bert.pooler.dense.weight", "bert.pooler.dense.bias", "cls.seq_relationship.weight", "cls.seq_relationship.bias"
    }  # fmt: skip
    ids = torch.randint(6, 53, (3, 19))
    with torch.no_grad():
        torch.testing.assert_close(logits(module, ids), peer.eval()(ids).logits, atol=1e-5, rtol=1e-5)
    metadata = (tmp_path / "model.safetensors").read_bytes()[:400]
    assert b'"format":"pt"' in metadata


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("sharded", [False, True])
def test_folders_that_transformers_writes_are_read(tmp_path: Path, name: str, sharded: bool) -> None:
    module = written(tmp_path / "ours", name)
    classes = {"bert with pairs": transformers.BertForPreTraining}
    peer = classes.get(name, transformers.AutoModelForMaskedLM).from_pretrained(tmp_path / "ours")
    peer.save_pretrained(tmp_path / "theirs", max_shard_size="8KB" if sharded else "1GB")
    assert (tmp_path / "theirs" / "model.safetensors.index.json").exists() == sharded
    loaded = read_folder(tmp_path / "theirs")
    assert loaded.unexpected == ()
    assert loaded.missing == ()
    # transformers has no place for a modern pair head, and knows nothing of special ids in BERT.
    assert loaded.config.model_copy(update={"pair_head": module.config.pair_head}) == module.config
    ids = torch.randint(6, 53, (2, 23))
    assert torch.equal(logits(loaded.module, ids), logits(module, ids))


def test_a_modern_pair_head_lies_in_a_file_of_its_own(tmp_path: Path) -> None:
    written(tmp_path, "modern with pairs")
    assert sorted(load_file(tmp_path / "pair_head.safetensors")) == [
        "pair_head.classifier.bias", "pair_head.classifier.weight", "pair_head.dense.bias", "pair_head.dense.weight"
    ]  # fmt: skip
    assert not any(name.startswith("pair_head") for name in load_file(tmp_path / "model.safetensors"))
    assert read_folder(tmp_path).config.pair_head
    dropped = read_folder(tmp_path, pair_head=False)
    assert not dropped.config.pair_head
    write_weights(dropped.module, tmp_path)
    assert not (tmp_path / "pair_head.safetensors").exists()


def test_a_missing_head_is_drawn_from_the_seed_and_reported(tmp_path: Path) -> None:
    module = written(tmp_path)
    weights = {name: tensor for name, tensor in load_file(tmp_path / "model.safetensors").items() if "cls" not in name}
    save_file({name.removeprefix("bert."): tensor for name, tensor in weights.items()}, tmp_path / "model.safetensors")
    loaded = read_folder(tmp_path, pair_head=True, seed=1)
    assert set(loaded.missing) == {
        "cls.predictions.bias", "cls.predictions.transform.dense.weight", "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight", "cls.predictions.transform.LayerNorm.bias",
        "bert.pooler.dense.weight", "bert.pooler.dense.bias",
        "cls.seq_relationship.weight", "cls.seq_relationship.bias",
    }  # fmt: skip
    assert torch.equal(loaded.module.get_parameter("word.weight"), module.get_parameter("word.weight"))
    transform = "transform.weight"
    drawn = [read_folder(tmp_path, seed=seed).module.get_parameter(transform) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_old_names_and_other_number_formats_are_understood(tmp_path: Path) -> None:
    module = written(tmp_path)
    old = {}
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        if "LayerNorm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        old[name.replace("cls.predictions.bias", "cls.predictions.decoder.bias")] = tensor.bfloat16()
    old["bert.embeddings.position_ids"] = torch.arange(31)[None]
    old["cls.species.weight"] = torch.zeros(3)
    (tmp_path / "model.safetensors").unlink()
    torch.save(old, tmp_path / "pytorch_model.bin")
    loaded = read_folder(tmp_path)
    assert loaded.missing == ()
    assert loaded.unexpected == ("cls.species.weight",)
    for key, value in module.state_dict().items():
        assert loaded.module.state_dict()[key].dtype == torch.float32
        assert torch.equal(loaded.module.state_dict()[key], value.bfloat16().float()), key


def test_torch_files_of_before_2020_are_read(tmp_path: Path) -> None:
    module = written(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    edit(tmp_path, model_type="absent", architectures="absent", position_embedding_type="absent")
    assert torch.equal(read_folder(tmp_path).module.get_parameter("word.weight"), module.get_parameter("word.weight"))


def test_configurations_of_older_and_newer_transformers_are_read(tmp_path: Path) -> None:
    config = written(tmp_path, "modern").config
    edit(tmp_path, rope_parameters="absent", layer_types="absent")
    assert read_folder(tmp_path).config == config
    written(tmp_path, "modern")
    edit(tmp_path, global_rope_theta="absent", local_rope_theta="absent", global_attn_every_n_layers="absent")
    assert read_folder(tmp_path).config == config


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def test_a_torch_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    torch.save({"bert.embeddings.word_embeddings.weight": Evil()}, tmp_path / "m" / "pytorch_model.bin")
    with pytest.raises(ModelError, match="holds more than weights"):
        read_folder(tmp_path / "m")
    assert not Path("executed").exists()


REFUSED = {
    "another architecture": ({"model_type": "distilbert"}, "bert", "model_type 'distilbert', but only bert,"),
    "relative positions": ({"position_embedding_type": "relative_key"}, "bert", "position_embedding_type = 'rel"),
    "activation": ({"hidden_act": "mish"}, "bert", "the activation 'mish' is not supported, only gelu,"),
    "decoder": ({"is_decoder": True}, "bert", "is_decoder = True is not supported"),
    "untied": ({"tie_word_embeddings": False}, "roberta", "tie_word_embeddings = False is not supported"),
    "heads": ({"num_attention_heads": 3}, "bert", "num_heads = 3 does not divide hidden_size = 20"),
    "no size": ({"hidden_size": "absent"}, "bert", "config.json lacks 'hidden_size'"),
    "not a number": ({"vocab_size": "many"}, "bert", "vocab_size: .*integer"),
    "biases": ({"attention_bias": True}, "modern", "attention_bias = True is not supported"),
    "scaled positions": ({"rope_scaling": {"rope_type": "yarn"}}, "modern", "scaled rotary positions"),
    "odd pattern": ({"layer_types": ["full_attention"] * 4 + ["sliding_attention"]}, "modern", "repeated, is"),
    "more layers": ({"num_hidden_layers": 4}, "bert", r"lacks the weight bert.encoder.layer.2.* and \d+ more"),
    "another size": ({"vocab_size": 54}, "bert", "word_embeddings.weight has shape 53 x 20, but .* 54 x 20"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_calculate_something_else_is_refused(tmp_path: Path, case: str) -> None:
    changes, name, message = REFUSED[case]
    written(tmp_path, name)
    edit(tmp_path, **changes)
    with pytest.raises(ModelError, match=message) as caught:
        read_folder(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def break_folder(folder: Path, case: str) -> None:
    weights = folder / "model.safetensors"
    index = folder / "model.safetensors.index.json"
    match case:
        case "no folder":
            folder.rename(folder.with_name("elsewhere"))
        case "no config":
            (folder / "config.json").unlink()
        case "broken config":
            (folder / "config.json").write_text("{")
        case "config is a list":
            (folder / "config.json").write_text("[]")
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "not weights":
            weights.write_bytes(b"hello")
        case "empty torch file":
            weights.rename(folder / "pytorch_model.bin").write_bytes(b"")
        case "list in a torch file":
            weights.unlink()
            torch.save([1], folder / "pytorch_model.bin")
        case "missing part":
            weights.unlink()
            index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))
        case "part outside":
            weights.unlink()
            index.write_text(json.dumps({"weight_map": {"a": "../model-1.safetensors"}}))
        case "broken index":
            weights.unlink()
            index.write_text("[]")


BROKEN = {
    "no folder": "is not a folder",
    "no config": "has no config.json",
    "broken config": "cannot be read",
    "config is a list": "does not hold a JSON object",
    "no weights": "neither model.safetensors nor pytorch_model.bin",
    "cut weights": "damaged or not a safetensors file",
    "not weights": "damaged or not a safetensors file",
    "empty torch file": "is damaged or not a file of weights",
    "list in a torch file": "holds a list, not weights",
    "missing part": "lacks model-1.safetensors",
    "part outside": "outside its folder",
    "broken index": "is damaged",
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_gets_one_line_that_names_it(tmp_path: Path, case: str) -> None:
    folder = tmp_path / "model"
    written(folder)
    break_folder(folder, case)
    with pytest.raises(ModelError, match=BROKEN[case]) as caught:
        read_folder(folder)
    assert re.search(rf"{re.escape(str(folder))}", str(caught.value))
    assert "\n" not in str(caught.value)
