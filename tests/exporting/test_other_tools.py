"""Folders as other tools of the field read them: fields, names, first outputs, and the metadata of cards."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import small_models
from maskling.cli.main import run
from maskling.errors import ModelError, SettingsError
from maskling.exporting.card_metadata import Measured, card_metadata, with_metadata
from maskling.exporting.cards import CardFacts, HeldOut, TaskFacts, update_card
from maskling.exporting.folder import export_model, export_sentence_encoder, export_task_model
from maskling.exporting.onnx import export_onnx
from maskling.infer.model import load
from maskling.model.folder import build_encoder
from maskling.model.sentence_transformers import normalizes, read_pooling
from maskling.model.tasks.folder import build_task_model
from maskling.train.export_run import export_folder

transformers = pytest.importorskip("transformers")

TEXTS = ["The quick brown fox jumps over the lazy dog.", "A souvenir!"]
HELD_OUT = HeldOut(mlm_loss=2.5, top1=0.25, top5=0.5, predictions=100)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A masked language model of each family. Not to be written to."""
    place = tmp_path_factory.mktemp("folders")
    tokenizer = small_models.wordpiece(place / "words")
    made = {"bert": small_models.bert(tokenizer), "modern": small_models.modern(tokenizer)}
    for name, module in made.items():
        facts = CardFacts(name="Mine", seq_length=40, held_out=HELD_OUT, sources=("hf:some/corpus:train", "a.txt"))
        export_model(module, tokenizer, place / name, facts)
    return {name: place / name for name in made}


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


@pytest.mark.parametrize("name", ["bert", "modern"])
def test_config_json_has_every_field_that_transformers_saves(folders: dict[str, Path], tmp_path: Path, name: str):
    transformers.AutoModelForMaskedLM.from_pretrained(folders[name]).save_pretrained(tmp_path)
    ours, theirs = config_of(folders[name]), config_of(tmp_path)
    # The name of the dtype and the version change with each version; an absent id is none.
    missing = {key: value for key, value in theirs.items() if key not in ours and value is not None}
    assert missing.keys() <= {"dtype", "transformers_version"}
    # The pooling of a head that this model does not have is a default for fine-tuning.
    assert {key for key in ours if key in theirs and ours[key] != theirs[key]} <= {"classifier_pooling"}


# What text-embeddings-inference requires (ModernBertConfig without Option, candle backend, 2026).
REQUIRED = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    *("hidden_activation", "max_position_embeddings", "initializer_range", "initializer_cutoff_factor", "norm_eps"),
    *("norm_bias", "pad_token_id", "eos_token_id", "bos_token_id", "cls_token_id"),
    *("sep_token_id", "global_rope_theta", "attention_bias", "attention_dropout", "global_attn_every_n_layers"),
    *("local_attention", "local_rope_theta", "classifier_activation"),
)


def test_text_embeddings_inference_finds_every_field_it_requires(folders: dict[str, Path]):
    found = config_of(folders["modern"])
    assert [name for name in REQUIRED if found.get(name) is None] == []


@pytest.mark.parametrize("name", ["bert", "modern"])
@pytest.mark.parametrize("fp16", [False, True])
def test_an_encoder_has_the_states_of_its_tokens_first(folders: dict[str, Path], tmp_path: Path, name: str, fp16: bool):
    onnxruntime = pytest.importorskip("onnxruntime")
    written = export_onnx(folders[name], tmp_path / "onnx", encoder=True, fp16=fp16)
    session = onnxruntime.InferenceSession(str(written.graph))
    assert [output.name for output in session.get_outputs()] == ["last_hidden_state"]
    theirs = transformers.AutoModel.from_pretrained(folders[name]).eval()
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path / "onnx")(TEXTS, padding=True, return_tensors="pt")
    (found,) = session.run(None, {key: value.numpy() for key, value in encoded.items()})
    real = encoded["attention_mask"].bool()
    with torch.no_grad():
        expected = theirs(**encoded).last_hidden_state
    tolerance = 2e-2 if fp16 else 1e-4
    np.testing.assert_allclose(found[real.numpy()], expected[real].numpy(), rtol=tolerance, atol=tolerance)
    model, onnx = load(folders[name], device="cpu"), load(tmp_path / "onnx")
    assert onnx.headless
    np.testing.assert_allclose(onnx.embed(TEXTS), model.embed(TEXTS), rtol=tolerance, atol=tolerance)
    assert f"onnxruntime {'fp16' if fp16 else 'fp32'}" in onnx.compute.description


def test_fp16_fills_masks_as_the_model_does(folders: dict[str, Path], tmp_path: Path):
    pytest.importorskip("onnxruntime")
    written = export_onnx(folders["modern"], tmp_path / "onnx", fp16=True)
    assert written.graph.name == "model_fp16.onnx"
    assert written.agreement is not None
    assert written.agreement.value > 0.97
    text = "the quick [MASK] fox sees a [MASK]."
    one, other = (load(folder, device="cpu").fill(text, top_k=1) for folder in (folders["modern"], tmp_path / "onnx"))
    assert [row[-1] for row in one.rows()] == [row[-1] for row in other.rows()]


def test_no_part_of_a_graph_is_taken_for_a_graph(folders: dict[str, Path], tmp_path: Path):
    pytest.importorskip("onnxruntime")
    for name, how in (("exact", {}), ("int8", {"int8": True})):
        export_onnx(folders["bert"], tmp_path / name, **how)
        assert len(list((tmp_path / name).rglob("*.onnx"))) == 1
        assert len(list((tmp_path / name).rglob("*.onnx_part"))) == 2


def test_parts_under_the_names_of_earlier_versions_are_read(folders: dict[str, Path], tmp_path: Path):
    pytest.importorskip("onnxruntime")
    export_onnx(folders["bert"], tmp_path / "onnx")
    before = load(tmp_path / "onnx").embed(TEXTS)
    for part in list((tmp_path / "onnx" / "onnx").glob("*.onnx_part")):
        part.rename(part.with_suffix(".onnx"))
    np.testing.assert_array_equal(load(tmp_path / "onnx").embed(TEXTS), before)


def test_int8_and_fp16_together_are_refused(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture):
    command = ["export", str(folders["bert"]), "--out", str(tmp_path / "x")]
    assert run([*command, "--format", "onnx", "--int8", "--fp16"]) == 2
    assert "two precisions" in capsys.readouterr().err
    for option in ("--fp16", "--encoder", "--int8"):
        assert run([*command, option]) == 2
        assert f"{option} needs --format onnx" in capsys.readouterr().err


def another_graph(path: Path, output: str, shape: list[int]) -> None:
    """Write a graph of the right names that returns zeros of another shape."""
    import onnx

    helper, types = onnx.helper, onnx.TensorProto
    size = onnx.numpy_helper.from_array(np.array(shape, np.int64), "size")
    node = helper.make_node("ConstantOfShape", ["size"], [output])
    given = helper.make_tensor_value_info("input_ids", types.INT64, ["batch", "sequence"])
    made = helper.make_tensor_value_info(output, types.FLOAT, None)
    graph = helper.make_graph([node], "g", [given], [made], [size])
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )


@pytest.mark.parametrize(
    ("output", "shape", "words"),
    [
        ("logits", [1, 2], "instead of float32"),
        ("logits", [1 << 20, 100_000], "failed in onnxruntime"),
        ("something", [1, 2], "no output logits"),
    ],
)
def test_a_graph_of_another_shape_is_refused_in_words(
    folders: dict[str, Path], tmp_path: Path, output: str, shape: list[int], words: str
):
    pytest.importorskip("onnxruntime")
    tokenizer = small_models.wordpiece(tmp_path / "words")
    task = build_task_model(folders["bert"], "classify", ("a", "b", "c"), 0).model
    export_task_model(task, tokenizer, tmp_path / "task", TaskFacts(seq_length=40))
    export_onnx(tmp_path / "task", tmp_path / "onnx")
    another_graph(tmp_path / "onnx" / "onnx" / "model.onnx", output, shape)
    with pytest.raises(ModelError, match=words) as error:
        load(tmp_path / "onnx").predict("the quick fox")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["bert", "modern"])
def test_a_cross_encoder_gives_the_scores_of_a_regression_model(folders: dict[str, Path], tmp_path: Path, name: str):
    CrossEncoder = pytest.importorskip("sentence_transformers").CrossEncoder
    tokenizer = small_models.wordpiece(tmp_path / "words")
    model = build_task_model(folders[name], "regress", ("score",), 1).model
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(20)
    export_task_model(model, tokenizer, tmp_path / "task", TaskFacts(seq_length=40, pairs=True))
    pairs = [("the quick fox", "a gift of paris"), ("the dog", "the lazy dog")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = CrossEncoder(str(tmp_path / "task"), device="cpu").predict(pairs)
    expected = [float(number) for number in load(tmp_path / "task", device="cpu").predict(pairs)]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-4)
    assert max(abs(value) for value in expected) > 1  # a sigmoid would not be


@pytest.mark.parametrize("normalized", [False, True])
def test_vectors_are_scaled_where_the_folder_says_so(folders: dict[str, Path], tmp_path: Path, normalized: bool):
    SentenceTransformer = pytest.importorskip("sentence_transformers").SentenceTransformer
    tokenizer = small_models.wordpiece(tmp_path / "words")
    module = build_encoder(folders["bert"], 0)
    facts = TaskFacts(seq_length=40)
    export_sentence_encoder(
        module, module.config, tokenizer, tmp_path / "one", facts, "cls", form=None, normalized=normalized
    )
    export_folder(tmp_path / "one", tmp_path / "two")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SentenceTransformer(str(tmp_path / "two"), device="cpu")
    expected = theirs.encode(TEXTS)
    assert theirs.similarity_fn_name == "cosine"
    assert (abs(np.linalg.norm(expected, axis=1) - 1).max() < 1e-5) == normalized
    model = load(tmp_path / "two", device="cpu")
    np.testing.assert_allclose(model.embed(TEXTS), expected, rtol=1e-4, atol=1e-4)
    assert np.linalg.norm(model.embed(TEXTS[0], normalize=True)) == pytest.approx(1)
    assert run(["embed", str(tmp_path / "two"), TEXTS[0], "--out", str(tmp_path / "v.npy")]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "v.npy"), expected[:1], rtol=1e-4, atol=1e-4)


def test_a_masked_language_model_keeps_its_pooling(folders: dict[str, Path], tmp_path: Path):
    tokenizer = small_models.wordpiece(tmp_path / "words")
    module = small_models.bert(tokenizer)
    export_model(module, tokenizer, tmp_path / "one", CardFacts(seq_length=40), pooling="cls", normalized=True)
    export_folder(tmp_path / "one", tmp_path / "two")
    assert read_pooling(tmp_path / "two") == "cls"
    assert normalizes(tmp_path / "two")


def test_metadata_of_a_card_is_valid_and_holds_what_was_measured(folders: dict[str, Path], tmp_path: Path):
    ModelCard = pytest.importorskip("huggingface_hub").ModelCard
    export_folder(folders["bert"], tmp_path / "out")
    assert (
        run(["export", str(folders["bert"]), "--out", str(tmp_path / "x"), "--license", "mit", "--language", "en,de"])
        == 0
    )
    data = ModelCard.load(tmp_path / "x" / "README.md").data
    assert (data.license, data.language, data.datasets) == ("mit", ["en", "de"], ["some/corpus"])
    assert data.pipeline_tag == "fill-mask"
    assert data.model_name == "Mine"
    found = {result.metric_name: result.metric_value for result in data.eval_results}
    assert found["accuracy"] == 0.25
    assert found["perplexity"] == pytest.approx(np.exp(2.5), rel=1e-5)
    assert {result.task_type for result in data.eval_results} == {"fill-mask"}
    update_card(tmp_path / "x", HeldOut(mlm_loss=2.0, top1=0.75, top5=0.8, predictions=9))
    again = ModelCard.load(tmp_path / "x" / "README.md").data
    assert again.license == "mit"
    assert {r.metric_name: r.metric_value for r in again.eval_results}["accuracy"] == 0.75


def test_metadata_survives_names_that_are_no_plain_words():
    ModelCard = pytest.importorskip("huggingface_hub").ModelCard
    name = 'a: "b"\n- c # d\'é'
    metrics = {"accuracy, dev": 0.5, "f1: x": 1.0, "loss": float("nan")}
    card = with_metadata(
        "# Title\n", {"license": "mit", "datasets": [name]}, Measured(name, "fill-mask", name, metrics)
    )
    data = ModelCard(card).data
    assert data.model_name == " ".join(name.split())
    assert data.datasets == [" ".join(name.split())]
    assert [(result.metric_type, result.metric_value) for result in data.eval_results] == [
        ("accuracy", 0.5),
        ("f1_x", 1),
    ]
    assert card.endswith("---\n# Title\n")
    twice = with_metadata(card, {"license": "apache-2.0"})
    assert ModelCard(twice).data.license == "apache-2.0"
    assert twice.count("license") == 1


@pytest.mark.parametrize(
    ("license_", "language"), [("My License!", None), ("", "english"), (None, "en,"), (None, "EN")]
)
def test_metadata_that_the_hub_refuses_is_refused(license_: str | None, language: str | None):
    with pytest.raises(SettingsError, match="is not"):
        card_metadata(license_, language)
