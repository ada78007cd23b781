"""`load` opens every folder that holds a model, and says of any other path what it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import maskling
from maskling.errors import CheckpointError, MasklingError, ModelError
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.model import load
from small_models import bert, byte_level, roberta, wordpiece

transformers = pytest.importorskip("transformers")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    export_model(bert(tokenizer), tokenizer, tmp_path / "run" / "model", CardFacts(seq_length=31))
    return tmp_path / "run" / "model"


def test_a_run_is_opened_by_its_model(export: Path) -> None:
    run, itself = load(str(export.parent), device="cpu"), maskling.load(export, device="cpu")
    assert run.folder == itself.folder == export
    assert run.max_length == 31
    np.testing.assert_array_equal(run.embed("the fox"), itself.embed("the fox"))


def test_a_run_stopped_while_it_put_a_new_model_in_place_still_has_its_old_one(export: Path) -> None:
    export.rename(export.with_name("model.old"))
    assert load(export.parent, device="cpu").fill("the [MASK]")
    assert [path.name for path in export.parent.iterdir()] == ["model.old"]


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_a_folder_that_transformers_wrote_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    vocabulary = wordpiece(tmp_path / "vocabulary")
    config = transformers.BertConfig(
        vocab_size=len(vocabulary) + 3,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        max_position_embeddings=37,
        initializer_range=0.5,
    )
    theirs = getattr(transformers, name)(config).eval()
    theirs.save_pretrained(tmp_path / "model")
    vocabulary.save(tmp_path / "model")
    ours = load(tmp_path / "model", device="cpu")
    assert ours.max_length == 37
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path / "model"), device="cpu")
    expected = {one["token"]: one["score"] for one in pipeline("the [MASK] fox", top_k=len(vocabulary) + 3)}
    (mask,) = ours.fill("the [MASK] fox", top_k=500)
    assert {one.id for one in mask} == set(vocabulary.ordinary_ids.tolist())
    for one in mask:
        assert one.probability == pytest.approx(expected[one.id], rel=1e-4)


def test_an_encoder_alone_embeds_and_says_that_it_cannot_fill(tmp_path: Path) -> None:
    tokenizer = byte_level(tmp_path / "vocabulary")
    export_model(roberta(tokenizer), tokenizer, tmp_path / "whole", CardFacts())
    transformers.RobertaModel.from_pretrained(tmp_path / "whole").save_pretrained(tmp_path / "encoder")
    tokenizer.save(tmp_path / "encoder")
    whole, encoder = load(tmp_path / "whole", device="cpu"), load(tmp_path / "encoder", device="cpu")
    np.testing.assert_allclose(encoder.embed("the fox"), whole.embed("the fox"), rtol=1e-5)
    with pytest.raises(ModelError, match="no masked-token head"):
        encoder.fill("the <mask>")


def test_each_path_that_is_no_model_is_told_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"bert-base-uncased: there is no such folder.*hf download"):
        load("bert-base-uncased")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="is a file"):
        load(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"has neither config\.json nor model/config\.json"):
        load(tmp_path / "empty")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "manifest.json").write_text("{}")
    with pytest.raises(ModelError, match="prepared data folder"):
        load(tmp_path / "data")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(CheckpointError, match="has no model/ yet"):
        load(tmp_path / "run")


def test_a_vocabulary_larger_than_the_model_is_refused(export: Path) -> None:
    config = json.loads((export / "config.json").read_text())
    tokenizer = json.loads((export / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["extra"] = config["vocab_size"]
    (export / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ModelError, match="resize the model to it"):
        load(export)


def test_a_damaged_folder_is_one_line(export: Path) -> None:
    (export / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(MasklingError, match=r"model\.safetensors"):
        load(export)


def test_opening_a_model_needs_no_transformers() -> None:
    code = "import sys, maskling.infer.model; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_filling_a_mask_loads_no_other_verb_no_data_and_no_training(export: Path) -> None:
    code = (
        "import sys, maskling\n"
        f"maskling.load({str(export)!r}, device='cpu').fill('the [MASK]')\n"
        "print(*(name for name in sys.modules if name.startswith('maskling.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert len(loaded) <= 60
    packages = ("cli", "corpus", "data", "evaluate", "finetune", "metrics", "objectives", "serve", "train")
    verbs = ("attention_maps", "embed", "generate", "index", "predict", "score", "search", "task_logits")
    unwanted = {*(f"maskling.{name}" for name in packages), *(f"maskling.infer.{name}" for name in verbs)}
    assert not unwanted & set(loaded)
