"""Against transformers: the same weights give the same answers, in rows of one example and in packed ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from maskling.errors import ModelError
from maskling.model.attention import AttentionPattern
from maskling.model.build import build_masked_lm
from maskling.model.config import BertConfig, ModelConfig, ModernConfig
from maskling.model.folder import write_weights
from maskling.model.tasks.config import HeadConfig, HeadKind, Pooling, head_from_hugging_face
from maskling.model.tasks.folder import (
    build_task_model,
    read_task_folder,
    task_config_json,
    write_task_weights,
)
from maskling.model.tasks.model import TaskModel, new_task_model

# Every dimension is a number of its own, so that a swapped one cannot pass.
BERT = BertConfig(hidden_size=44, num_layers=2, num_heads=4, intermediate_size=58, vocab_size=101, max_positions=90)
ROBERTA = BERT.model_copy(
    update={"family": "roberta", "position_offset": 2, "pad_id": 1, "norm_eps": 1e-5, "type_vocab_size": 1}
)
MODERN = ModernConfig(
    hidden_size=44, num_layers=4, num_heads=2, intermediate_size=58, vocab_size=101, local_window=8, pad_id=3
)
ENCODERS: dict[str, ModelConfig] = {
    "bert": BERT,
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA.model_copy(update={"family": "xlm-roberta"}),
    "camembert": ROBERTA.model_copy(update={"family": "camembert"}),
    "modern": MODERN,
    "modern tanh": MODERN.model_copy(update={"activation": "gelu_tanh"}),
}
LABELS: dict[HeadKind, tuple[str, ...]] = {
    "classify": ("bad", "so so", "good"),
    "multi-label": ("a", "b", "c", "d", "e"),
    "regress": ("score",),
    "tag": ("B-PER", "I-PER", "O", "B-LOC", "I-LOC"),
    "answer": ("start", "end"),
}
LENGTHS = [19, 7, 13]


def random_model(config: ModelConfig, kind: HeadKind, pooling: Pooling = "mean", spread: float = 0.12) -> TaskModel:
    """Weights large enough that answers differ, and biases and norms that are not 0 and 1."""
    model = new_task_model(config, HeadConfig(kind, LABELS[kind], pooling=pooling), seed=5)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * spread)
    return model.eval()


def twin(model: TaskModel) -> Any:
    """The model of transformers that config.json names, with the same weights."""
    tree = task_config_json(model.config, model.head_config)
    tree["id2label"] = {int(index): label for index, label in tree["id2label"].items()}
    config = transformers.AutoConfig.for_model(**tree)
    peer = getattr(transformers, tree["architectures"][0])(config).eval()
    peer.load_state_dict({name: tensor.clone() for name, tensor in model.to_hugging_face().items()}, strict=True)
    return peer


def padded(config: ModelConfig) -> dict[str, Tensor]:
    """An example a row, as a tokenizer of transformers pads it."""
    generator = torch.Generator().manual_seed(11)
    ids = torch.randint(5, config.vocab_size, (len(LENGTHS), max(LENGTHS)), generator=generator)
    real = torch.arange(ids.shape[1])[None, :] < torch.tensor(LENGTHS)[:, None]
    ids[~real] = config.pad_id
    batch = {"input_ids": ids, "attention_mask": real.long()}
    if getattr(config, "type_vocab_size", 1) > 1:
        batch["token_type_ids"] = (torch.arange(ids.shape[1]) >= torch.tensor(LENGTHS)[:, None] // 2).long() * real
    return batch


def packed(batch: dict[str, Tensor]) -> tuple[list[Tensor], AttentionPattern, Tensor, Tensor]:
    """The same examples in two rows: the first two side by side, the third behind nothing, padding at both ends.

    Returns the encoder's inputs, who sees whom, where examples begin, and the flat place of every token, in order.
    """
    seq, starts = 31, [(0, 0), (0, LENGTHS[0]), (1, 0)]
    types = batch.get("token_type_ids", torch.zeros_like(batch["input_ids"]))
    ids, positions, kinds = (torch.zeros((2, seq), dtype=torch.int64) for _ in range(3))
    examples = torch.full((2, seq), -1)
    within = [0, 1, 0]
    places = []
    for example, (row, column) in enumerate(starts):
        length = LENGTHS[example]
        span = slice(column, column + length)
        ids[row, span] = batch["input_ids"][example, :length]
        kinds[row, span] = types[example, :length]
        positions[row, span] = torch.arange(length)
        examples[row, span] = within[example]
        places.append(torch.arange(length) + row * seq + column)
    first = torch.tensor([row * seq + column for row, column in starts])
    return [ids, positions, kinds], AttentionPattern.from_example_ids(examples), first, torch.cat(places)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
@torch.no_grad()
def test_packed_examples_get_the_logits_that_transformers_gives_to_padded_ones(
    encoder: str, kind: HeadKind, pooling: Pooling
) -> None:
    config = ENCODERS[encoder]
    model = random_model(config, kind, pooling)
    batch = padded(config)
    expected = twin(model)(**batch)
    inputs, pattern, first, places = packed(batch)
    hidden = model(*inputs, pattern)
    real = batch["attention_mask"].bool()
    if kind == "tag":
        found, wanted = model.tag(hidden, places), expected.logits[real]
    elif kind == "answer":
        found = model.answer(hidden).flatten(0, 1)[places]
        wanted = torch.stack([expected.start_logits[real], expected.end_logits[real]], dim=-1)
    else:
        found, wanted = model.classify(hidden, first, pattern), expected.logits
    assert found.shape[1] == len(LABELS[kind])
    assert wanted.std() > 0.05
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ["bert", "roberta", "modern"])
@pytest.mark.parametrize("kind", LABELS)
def test_gradients_equal_those_of_transformers(encoder: str, kind: HeadKind) -> None:
    config = ENCODERS[encoder]
    model = random_model(config, kind)
    peer = twin(model)
    batch = padded(config)
    real = batch["attention_mask"].bool()
    out = peer(**batch)
    inputs, pattern, first, places = packed(batch)
    hidden = model(*inputs, pattern)
    if kind == "tag":
        out.logits[real].square().sum().backward()
        model.tag(hidden, places).square().sum().backward()
    elif kind == "answer":
        (out.start_logits[real].square().sum() + out.end_logits[real].square().sum()).backward()
        model.answer(hidden).flatten(0, 1)[places].square().sum().backward()
    else:
        out.logits.square().sum().backward()
        model.classify(hidden, first, pattern).square().sum().backward()
    wanted = dict(peer.named_parameters())
    checked = 0
    for ours, several in model.hf_names().items():
        if ours not in dict(model.named_parameters()):
            continue
        gradient = model.get_parameter(ours).grad
        assert gradient is not None, ours
        for name, piece in zip(several, gradient.chunk(len(several)), strict=True):
            want = wanted[name].grad
            if "word_embeddings" in name or "tok_embeddings" in name:
                # transformers keeps the row of [PAD] from learning; the model of 2018 does not.
                want[config.pad_id] = piece[config.pad_id] = 0
            torch.testing.assert_close(piece, want, atol=1e-4, rtol=1e-4, msg=lambda said, name=name: f"{name}: {said}")
            checked += 1
    assert checked == len(wanted)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_task_model_holds_what_it_uses_and_no_more(encoder: str) -> None:
    for kind in LABELS:
        model = random_model(ENCODERS[encoder], kind)
        assert model.num_parameters() == sum(parameter.numel() for parameter in twin(model).parameters())
        assert set(model.state_dict()) <= set(model.hf_names())


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("kind", LABELS)
def test_what_is_written_opens_in_transformers_and_here(tmp_path: Path, encoder: str, kind: HeadKind) -> None:
    model = random_model(ENCODERS[encoder], kind)
    write_task_weights(model, tmp_path)
    autos = {"tag": "AutoModelForTokenClassification", "answer": "AutoModelForQuestionAnswering"}
    auto = getattr(transformers, autos.get(kind, "AutoModelForSequenceClassification"))
    peer, report = auto.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert peer.config.id2label == dict(enumerate(LABELS[kind]))
    again = read_task_folder(tmp_path)
    assert again is not None
    assert (again.head_config.kind, again.head_config.labels) == (kind, LABELS[kind])
    assert again.head_config.pooling == ("mean" if isinstance(model.config, ModernConfig) else "cls")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("encoder", ["bert", "roberta", "modern"])
@pytest.mark.parametrize("kind", ["classify", "tag", "answer"])
@pytest.mark.parametrize("age", ["new", "old"])
def test_what_transformers_wrote_is_read(tmp_path: Path, encoder: str, kind: HeadKind, age: str) -> None:
    model = random_model(ENCODERS[encoder], kind, pooling="cls")
    peer = twin(model)
    peer.save_pretrained(tmp_path)
    if age == "old":
        # As before 2020: weights pickled by torch with the names of TensorFlow, labels without names.
        (tmp_path / "model.safetensors").unlink()
        old = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): value for name, value in peer.state_dict().items()}
        torch.save(old, tmp_path / "pytorch_model.bin")
        tree = json.loads((tmp_path / "config.json").read_text())
        lost = ["id2label", "label2id", "problem_type", "classifier_pooling", "classifier_dropout"]
        lost += ["architectures"] if encoder != "modern" else []
        (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in tree.items() if k not in lost}))
    again = read_task_folder(tmp_path)
    assert again is not None
    assert again.head_config.kind == kind
    named = LABELS[kind] if age == "new" else tuple(f"LABEL_{i}" for i in range(len(LABELS[kind])))
    assert again.head_config.labels == named
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_one_output_without_a_name_for_the_problem_is_a_number_as_in_transformers() -> None:
    tree = {"architectures": ["BertForSequenceClassification"]}
    for outputs, kind in ((1, "regress"), (2, "classify")):
        head = head_from_hugging_face(tree, {"classifier.weight": [outputs, 44]}, "somewhere")
        assert head is not None
        assert head.kind == kind


def test_an_encoder_is_no_task_model(tmp_path: Path) -> None:
    write_weights(build_masked_lm(BERT, seed=1), tmp_path)
    assert read_task_folder(tmp_path) is None


@pytest.mark.parametrize("encoder", ["bert", "roberta", "modern"])
def test_a_task_model_starts_with_the_weights_of_the_encoder_and_draws_the_rest(tmp_path: Path, encoder: str) -> None:
    config = ENCODERS[encoder].model_copy(update={"pair_head": encoder == "bert"})
    source = build_masked_lm(config, seed=3)
    write_weights(source, tmp_path)
    built = build_task_model(tmp_path, "classify", ("no", "yes"), seed=4)
    drawn = {
        "bert": {"classifier.weight", "classifier.bias"},  # its pooler learned with next sentences
        "roberta": {f"classifier.{part}.{kind}" for part in ("dense", "out_proj") for kind in ("weight", "bias")},
        "modern": {"classifier.weight", "classifier.bias"},
    }
    assert set(built.drawn) == drawn[encoder]
    there = source.to_hugging_face()
    for name, value in built.model.to_hugging_face().items():
        if name not in built.drawn:
            assert torch.equal(value, there[name]), name
    again, other = (build_task_model(tmp_path, "classify", ("no", "yes"), seed=seed).model for seed in (4, 5))
    assert torch.equal(again.head.classifier.weight, built.model.head.classifier.weight)
    assert not torch.equal(other.head.classifier.weight, built.model.head.classifier.weight)


def test_nothing_is_drawn_from_the_generator_of_torch(tmp_path: Path) -> None:
    write_weights(build_masked_lm(BERT, seed=3), tmp_path)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build_task_model(tmp_path, "tag", LABELS["tag"], seed=4)
    build_task_model(tmp_path, "tag", LABELS["tag"], seed=4, fresh=True)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_fresh_model_has_the_shape_of_the_folder_and_none_of_its_weights(tmp_path: Path) -> None:
    source = build_masked_lm(BERT, seed=3)
    write_weights(source, tmp_path)
    fresh = build_task_model(tmp_path, "classify", ("no", "yes"), seed=4, fresh=True)
    assert set(fresh.drawn) == set(fresh.model.to_hugging_face())
    assert torch.equal(fresh.model.encoder.word.weight, build_masked_lm(BERT, seed=4).word.weight)


def test_the_last_layer_is_taken_from_a_model_for_the_same_labels_only(tmp_path: Path) -> None:
    first = random_model(MODERN, "classify")
    write_task_weights(first, tmp_path)
    same = build_task_model(tmp_path, "classify", LABELS["classify"], seed=4)
    assert same.drawn == ()
    assert torch.equal(same.model.head.classifier.weight, first.head.classifier.weight)
    assert same.model.head_config.pooling == "mean"
    for kind, labels in (("classify", ("a", "b", "c")), ("multi-label", LABELS["classify"]), ("classify", ("x", "y"))):
        other = build_task_model(tmp_path, kind, labels, seed=4)
        assert set(other.drawn) == {"classifier.weight", "classifier.bias"}
        assert torch.equal(other.model.head.dense.weight, first.head.dense.weight)


def test_dropout_can_be_set_for_the_encoder_and_the_head(tmp_path: Path) -> None:
    write_weights(build_masked_lm(BERT, seed=3), tmp_path)
    model = build_task_model(tmp_path, "classify", ("no", "yes"), seed=4, dropout=0.25, head_dropout=0.5).model
    assert {layer.config.dropout for layer in model.encoder.layers} == {0.25}
    assert model.head.dropout == 0.5
    assert task_config_json(model.config, model.head_config)["classifier_dropout"] == 0.5
    hidden = torch.ones(1, 3, 44)
    pattern = AttentionPattern.from_attention_mask(torch.ones(1, 3))
    first = torch.zeros(1, dtype=torch.int64)
    draws = [model.train().classify(hidden, first, pattern) for _ in range(4)]
    assert not all(torch.equal(draws[0], draw) for draw in draws)


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        ("classify", (), "needs at least one label"),
        ("classify", ("a", "b", "a"), "label 'a' is given twice"),
        ("regress", ("a", "b"), "has 1 outputs, not 2"),
        ("guess", ("a",), "no head for 'guess'"),
    ],
)
def test_labels_that_do_not_fit_are_refused(kind: HeadKind, labels: tuple[str, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        HeadConfig(kind, labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id2label": {"0": "a", "1": "b"}}, "names 2 labels, but the last layer of its head has 3 outputs"),
        ({"id2label": {"zero": "a", "1": "b", "2": "c"}}, "id2label does not map ids to names"),
        ({"id2label": {"0": "a", "1": "b", "2": "b"}}, "label 'b' is given twice"),
        ({"classifier_pooling": "max"}, "classifier_pooling = 'max' is not supported"),
    ],
)
def test_a_head_that_is_not_understood_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    write_task_weights(random_model(MODERN, "classify"), tmp_path)
    tree = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(tree | change))
    with pytest.raises(ModelError, match=message):
        read_task_folder(tmp_path)


def test_a_folder_without_its_last_layer_is_refused(tmp_path: Path) -> None:
    peer = twin(random_model(BERT, "classify"))
    peer.save_pretrained(tmp_path)
    weights = {name: value for name, value in peer.state_dict().items() if name != "bert.pooler.dense.bias"}
    (tmp_path / "model.safetensors").unlink()
    torch.save(weights, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"lacks the weight bert\.pooler\.dense\.bias"):
        read_task_folder(tmp_path)
