"""Models resized to a tokenizer, words that cannot be added, special tokens, and missing ones: by command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import small_models
from commands import TRAIN, Command
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.model import load
from maskling.model.folder import read_folder
from maskling.tokenizer.tokenizer import Tokenizer


def model_with_added_tokens(folder: Path) -> Tokenizer:
    """A model whose tokenizer got tokens that the model has no rows for, as people do with add_tokens."""
    transformers = pytest.importorskip("transformers")
    tokenizer = small_models.wordpiece(folder / "tok")
    export_model(small_models.bert(tokenizer), tokenizer, folder / "added", CardFacts(seq_length=60))
    auto = transformers.AutoTokenizer.from_pretrained(folder / "added")
    auto.add_tokens(["covid-19", "<ent>", "zymurgist"])
    auto.save_pretrained(folder / "added")
    return tokenizer


def test_a_model_is_resized_to_its_tokenizer_as_transformers_does(maskling: Command, tmp_path: Path):
    transformers = pytest.importorskip("transformers")
    tokenizer = model_with_added_tokens(tmp_path)
    source, out = tmp_path / "added", tmp_path / "new"
    assert "maskling extend" in maskling("fill", source, "the [MASK] .").complaint
    said = maskling("extend", source, "--tokenizer", source, "--out", out, "--json")
    assert said.code == 0, said
    assert json.loads(said.out)["new_tokens"] == ["covid-19", "<ent>", "zymurgist"]
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(source)
    ids = torch.tensor([[2, 7, 9, 4, 11, 3]])
    before = theirs(ids).logits
    theirs.resize_token_embeddings(tokenizer.vocab_size + 3, mean_resizing=True)
    ours = transformers.AutoModelForMaskedLM.from_pretrained(out)
    torch.testing.assert_close(ours(ids).logits[..., : tokenizer.vocab_size], before)
    torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, rtol=1e-4, atol=1e-4)
    assert load(out, device="cpu").tokenizer.encode("covid-19 zymurgist").ids.tolist() == [
        tokenizer.vocab_size,
        tokenizer.vocab_size + 2,
    ]
    assert "**3 rows** were added" in (out / "README.md").read_text()
    complaint = maskling("extend", out, "--tokenizer", out, "--out", tmp_path / "x").complaint
    assert "rows in its vocabulary already" in complaint


def test_a_tokenizer_with_other_ids_is_refused(maskling: Command, tmp_path: Path):
    model_with_added_tokens(tmp_path)
    tokens = [*small_models.SPECIAL, *reversed(small_models.VOCABULARY[5:]), "more", "words"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    arguments = ("--tokenizer", tmp_path / "vocab.txt", "--out", tmp_path / "x")
    assert (
        "give a tokenizer that has the old tokens first" in maskling("extend", tmp_path / "added", *arguments).complaint
    )
    assert not (tmp_path / "x").exists()


def test_training_starts_from_a_model_with_fewer_tokens_than_its_tokenizer(
    maskling: Command, here: Path, tmp_path: Path
):
    model_with_added_tokens(tmp_path)
    source = tmp_path / "added"
    prepare = ["prepare", "books", "--out", tmp_path / "data", "--tokenizer.path", source, "--system.workers", "1"]
    assert maskling(*prepare, "--shards.validation-fraction", "0.2").code == 0
    train = ["train", "--data", tmp_path / "data", "--init", source, "--out", tmp_path / "run", "--train.steps", "2"]
    said = maskling(*train, *TRAIN[8:])
    assert said.code == 0, said
    assert "3 rows were added" in said.err
    assert read_folder(tmp_path / "run" / "model").config.vocab_size == Tokenizer.load(source).vocab_size


WORDS = ["covid-19", "[URL]", "C++", "O'Brien", "BRCA1", "heart attack", "日本", "naïve", "Kubernetes"]


def test_every_word_that_cannot_be_added_is_named_at_once(maskling: Command, here: Path):
    Path("words.txt").write_text("\n".join(WORDS))
    extend = ["tokenizer", "extend", "runs/mine", "--words", "words.txt", "--out", "more"]
    complaint = maskling(*extend).complaint
    for word in ("covid-19", "[URL]", "C++", "heart attack", "日本"):
        assert repr(word) in complaint
    for word in ("BRCA1", "naïve", "Kubernetes"):
        assert repr(word) not in complaint
    assert not Path("more").exists()
    said = maskling(*extend, "--skip-unusable", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    assert {"covid-19", "[URL]"} <= found["left_out"].keys()
    assert {word["text"] for word in found["words"]} >= {"brca1", "kubernetes"}
    assert found["normalized"]["Kubernetes"] == "kubernetes"
    assert "'covid-19' was left out: split into covid - 19 first" in said.err
    assert len(load("more", device="cpu").tokenizer.encode("BRCA1 Kubernetes")) == 2


def test_words_that_are_split_become_special_tokens(maskling: Command, here: Path):
    Path("special.txt").write_text("covid-19\n[URL]\nC++\n")
    Path("words.txt").write_text("kalokalomi\n")
    files = ["--words", "words.txt", "--special", "special.txt"]
    said = maskling("tokenizer", "extend", "runs/mine", *files, "--out", "more")
    assert said.code == 0, said
    old, new = load("runs/mine", device="cpu"), load("more", device="cpu")
    first = old.tokenizer.vocab_size
    assert [new.tokenizer.token(id_) for id_ in range(first, first + 4)] == ["kalokalomi", "covid-19", "[URL]", "C++"]
    ids = new.tokenizer.encode("covid-19 [URL] C++", special_in_text=True).ids.tolist()
    assert ids == [first + 1, first + 2, first + 3]
    assert {first + 1, first + 2, first + 3} <= set(new.tokenizer.special_ids.tolist())
    table, before = (model.module.state_dict()["word.weight"].numpy() for model in (new, old))
    pieces = old.tokenizer.encode("[URL]").ids
    np.testing.assert_allclose(table[first + 2], before[pieces].mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(table[:first], before[:first])
    again = maskling("tokenizer", "extend", "more", "--special", "special.txt", "--out", "x")
    assert "'covid-19', '[URL]', 'C++' (one token already)" in again.complaint


def test_transformers_keeps_added_special_tokens_whole(maskling: Command, here: Path):
    transformers = pytest.importorskip("transformers")
    Path("special.txt").write_text("[URL]\n")
    assert maskling("tokenizer", "extend", "runs/mine", "--special", "special.txt", "--out", "more").code == 0
    auto = transformers.AutoTokenizer.from_pretrained("more")
    assert "[URL]" in auto.tokenize("see [URL].")
    assert transformers.AutoModelForMaskedLM.from_pretrained("more").config.vocab_size == len(auto)


def test_a_missing_mask_is_added_to_a_model(maskling: Command, tmp_path: Path):
    tokenizer = small_models.wordpiece(tmp_path / "tok")
    export_model(small_models.bert(tokenizer), tokenizer, tmp_path / "model", CardFacts(seq_length=60))
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        file = tmp_path / "model" / name
        file.write_text(file.read_text().replace("[MASK]", "[NONE]"))
    config = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    del config["mask_token"]
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "model" / "special_tokens_map.json").unlink()
    out = tmp_path / "more"
    assert "tokenizer.add_missing" in maskling("fill", tmp_path / "model", "a [MASK]").complaint
    said = maskling("tokenizer", "extend", tmp_path / "model", "--add-missing", "--out", out)
    assert said.code == 0, said
    assert "special tokens added: [MASK]" in said.err
    assert load(out, device="cpu").tokenizer.special.mask == tokenizer.vocab_size
    assert maskling("fill", out, "the [MASK] fox").code == 0


def test_adding_missing_tokens_in_prepare(maskling: Command, here: Path, tmp_path: Path):
    tokens = [token for token in small_models.VOCABULARY if token != "[MASK]"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens))
    prepare = ["prepare", "books", "--out", tmp_path / "data", "--tokenizer.path", tmp_path / "vocab.txt"]
    assert "tokenizer.add_missing = true" in maskling(*prepare).complaint
    assert maskling(*prepare, "--tokenizer.add-missing", "true").code == 0
    assert Tokenizer.load(tmp_path / "data").mask_token == "[MASK]"
    alone = maskling("prepare", "books", "--out", tmp_path / "x", "--tokenizer.add-missing", "true")
    assert "give it with tokenizer.path" in alone.complaint
