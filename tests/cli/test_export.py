"""An export gives the same outputs as its source, and never overwrites other files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import small_models
from commands import Command
from maskling.exporting.cards import CardFacts, TaskFacts
from maskling.exporting.folder import export_model, export_task_model, write_pooling
from maskling.infer.model import load
from maskling.model.tasks.config import AnswerSettings, HeadConfig, HeadKind
from maskling.model.tasks.model import new_task_model

TEXTS = ["kalo [MASK] miner.", "[MASK]"]


def answers(folder: str | Path) -> list[float]:
    """Probabilities that a model gives; equal for equal models."""
    return [one.probability for filled in load(folder, device="cpu").fill(TEXTS) for mask in filled for one in mask]


def test_a_run_exports_its_best_weights_and_its_card(maskling: Command, here: Path):
    said = maskling("export", "runs/mine", "--out", "exported", "--json")
    assert said.code == 0
    assert json.loads(said.out)["folder"] == "exported"
    assert answers("exported") == answers("runs/mine")
    assert (here / "exported/README.md").read_text() == (here / "runs/mine/model/README.md").read_text()


def test_a_checkpoint_exports_the_weights_of_its_step(maskling: Command, here: Path):
    assert maskling("export", "runs/mine", "--step", "2", "--out", "two").code == 0
    assert maskling("export", "runs/mine", "--step", "3", "--out", "three").code == 0
    assert answers("two") != answers("three")
    best = json.loads((here / "runs/mine/checkpoints/step-000003/state.json").read_text())["best"]["step"]
    assert answers("runs/mine") == answers({2: "two", 3: "three"}[best])
    assert "| optimizer steps | 2 |" in (here / "two/README.md").read_text()


def test_a_checkpoint_can_be_exported_when_its_data_is_gone(maskling: Command, here: Path):
    shutil.rmtree(here / "data")
    assert maskling("export", "runs/mine", "--step", "3", "--out", "three").code == 0
    shutil.rmtree(here / "runs/mine/model")
    assert "restore one of them" in maskling("export", "runs/mine", "--step", "3", "--out", "four").complaint


def test_a_folder_of_2018_is_converted_to_the_current_layout(maskling: Command, tmp_path: Path):
    tokenizer = small_models.wordpiece(tmp_path / "vocabulary")
    module = small_models.bert(tokenizer)
    export_model(module, tokenizer, tmp_path / "now", CardFacts())
    old = tmp_path / "old"
    old.mkdir()
    for name in ("config.json", "vocab.txt"):
        shutil.copy(tmp_path / "now" / name, old)
    weights = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(tmp_path / "now" / "model.safetensors").items()
    }
    torch.save(weights | {"classifier.weight": torch.zeros(2, 24)}, old / "pytorch_model.bin")
    said = maskling("export", old, "--out", tmp_path / "again")
    assert said.code == 0
    assert "left out: 1 weight" in said.err
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert {name: value.tolist() for name, value in again.items()} == {
        name: value.tolist() for name, value in load_file(tmp_path / "now" / "model.safetensors").items()
    }
    assert "converted from `old`" in (tmp_path / "again" / "README.md").read_text()
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "again").eval()
    encoded = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")("the quick brown fox", return_tensors="pt")
    ours = load(tmp_path / "again", device="cpu").embed("the quick brown fox")
    with torch.no_grad():
        hidden = theirs(**encoded, output_hidden_states=True).hidden_states[-1][0].mean(0)
    np.testing.assert_allclose(ours, hidden.numpy(), rtol=1e-4, atol=1e-5)


def test_an_encoder_without_a_head_is_refused(maskling: Command, here: Path):
    weights = here / "runs/mine/model/model.safetensors"
    kept = {name: value for name, value in load_file(weights).items() if name.startswith("model.")}
    save_file(kept, weights, metadata={"format": "pt"})
    assert "without its masked-token head" in maskling("export", "runs/mine", "--out", "exported").complaint
    assert not (here / "exported").exists()


HEADS = {
    "classify": HeadConfig("classify", ("bad", "so so", "good")),
    "multi-label": HeadConfig("multi-label", ("a", "b"), answer_settings=AnswerSettings(threshold=0.25)),
    "regress": HeadConfig("regress", ("score",)),
    "tag": HeadConfig("tag", ("O", "B-PER", "I-PER")),
    "answer": HeadConfig("answer", ("start", "end")),
}
ASKED = {"tag": "the fox sees paris", "answer": ("who sees paris?", "the quick fox sees paris.")}
CLASSES = {"tag": "AutoModelForTokenClassification", "answer": "AutoModelForQuestionAnswering"}


@pytest.mark.parametrize("family", ["bert", "roberta", "modern"])
@pytest.mark.parametrize("kind", HEADS)
def test_a_fine_tuned_model_keeps_its_task(maskling: Command, tmp_path: Path, kind: HeadKind, family: str):
    transformers = pytest.importorskip("transformers")
    tokenizer = (small_models.byte_level if family == "roberta" else small_models.wordpiece)(tmp_path / "vocabulary")
    model = new_task_model(getattr(small_models, family)(tokenizer).config, HEADS[kind], seed=3).eval()
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    export_task_model(model, tokenizer, ours, TaskFacts(seq_length=40))
    auto = getattr(transformers, CLASSES.get(kind, "AutoModelForSequenceClassification"))
    auto.from_pretrained(ours).save_pretrained(theirs)
    transformers.AutoTokenizer.from_pretrained(ours).save_pretrained(theirs)
    for source in (ours, theirs):
        said = maskling("export", source, "--out", tmp_path / "out", "--json")
        assert said.code == 0, said
        found = json.loads(said.out)
        assert (found["architecture"], found["left_out"]) == (auto.from_pretrained(ours).config.architectures[0], [])
        assert found["parameters"] == model.num_parameters()
        opened, report = auto.from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not report["missing_keys"]
        assert not report["unexpected_keys"]
        assert tuple(opened.config.id2label.values()) == HEADS[kind].labels
        asked = ASKED.get(kind, "a lazy dog")
        assert load(tmp_path / "out", device="cpu").predict(asked) == load(source, device="cpu").predict(asked)
        assert load(tmp_path / "out", device="cpu").max_length == 40
    assert "converted from `theirs`" in (tmp_path / "out" / "README.md").read_text()


def test_an_exported_encoder_gives_the_same_vectors(maskling: Command, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    tokenizer = small_models.wordpiece(tmp_path / "vocabulary")
    export_model(small_models.bert(tokenizer), tokenizer, tmp_path / "whole", CardFacts(seq_length=40))
    encoder, out = tmp_path / "encoder", tmp_path / "out"
    transformers.BertModel.from_pretrained(tmp_path / "whole").save_pretrained(encoder)
    tokenizer.save(encoder, 40)
    write_pooling(encoder, 24, 30, "cls", normalized=True)
    said = maskling("export", encoder, "--out", out)
    assert said.code == 0, said
    assert "left out: 2 weights that BertModel does not have (pooler.dense" in said.err
    one, other = load(encoder, device="cpu"), load(out, device="cpu")
    assert other.max_length == 30
    np.testing.assert_array_equal(other.embed(TEXTS), one.embed(TEXTS))
    sentence_transformers = pytest.importorskip("sentence_transformers")
    first, second = (
        sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(TEXTS) for folder in (encoder, out)
    )
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(second, axis=1), 1, rtol=1e-5)
    for words in (["extend", encoder, "--positions", "99"], ["tokenizer", "extend", encoder, "--words", "words.txt"]):
        (tmp_path / "words.txt").write_text("kalokalomi\n")
        words = [tmp_path / word if word == "words.txt" else word for word in words]
        assert "holds BertModel, which has no masked-token head" in maskling(*words, "--out", tmp_path / "x").complaint


def test_a_step_is_of_a_pretraining_run(maskling: Command, tmp_path: Path):
    (tmp_path / "config.toml").write_text('[task]\nkind = "classify"\n')
    complaint = maskling("export", tmp_path, "--step", "2", "--out", tmp_path / "out").complaint
    assert "only the best weights are exported; leave out --step" in complaint


def test_an_export_replaces_only_another_export(maskling: Command, here: Path):
    assert maskling("export", "runs/mine", "--out", "exported").code == 0
    assert maskling("export", "runs/mine", "--step", "2", "--out", "exported").code == 0
    (here / "exported" / "notes.txt").write_text("mine")
    assert (
        "holds files that do not belong to a model (notes.txt)"
        in maskling("export", "runs/mine", "--out", "exported").complaint
    )
    (here / "git" / ".git").mkdir(parents=True)
    assert (
        "holds files that do not belong to a model (.git)" in maskling("export", "runs/mine", "--out", "git").complaint
    )
    (here / "empty").mkdir()
    assert maskling("export", "runs/mine", "--out", "empty").code == 0


def test_the_card_gets_the_metrics_of_an_evaluation_and_keeps_its_other_text(maskling: Command, here: Path):
    card = here / "runs/mine/model/README.md"
    card.write_text(card.read_text() + "\nMy own words.\n")
    numbers = json.loads(maskling("evaluate", "runs/mine", "books/00.txt", "books/01.txt", "--card", "--json").out)
    assert f"| masked-token loss | {numbers['mlm_loss']:.4f} |" in card.read_text()
    assert card.read_text().endswith("My own words.\n")
    assert maskling("export", "runs/mine", "--out", "exported").code == 0
    assert (here / "exported/README.md").read_text() == card.read_text()
