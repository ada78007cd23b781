"""A run with more words or positions is a model folder again: opened by others, measured, and trained further."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import small_models
from commands import TRAIN, Command
from maskling.exporting.cards import CardFacts, TaskFacts
from maskling.exporting.folder import export_model, export_task_model
from maskling.infer.model import load
from maskling.model.folder import read_config
from maskling.model.tasks.config import HeadConfig
from maskling.model.tasks.model import new_task_model


def test_words_of_a_text_become_tokens_of_the_model(maskling: Command, here: Path):
    extend = ["tokenizer", "extend", "runs/mine", "--text", "books", "--count", "7", "--min-count", "3"]
    said = maskling(*extend, "--out", "more", "--json")
    assert said.code == 0, said
    found = json.loads(said.out)
    old, new = load("runs/mine", device="cpu"), load("more", device="cpu")
    assert found["vocab_size"] == new.tokenizer.vocab_size == old.tokenizer.vocab_size + 7
    assert new.module.config.vocab_size == found["vocab_size"]
    texts = [path.read_text() for path in Path("books").iterdir()]
    assert found["tokens_before"] > found["tokens_after"]
    assert found["tokens_after"] == sum(len(new.tokenizer.encode(text)) for text in texts)
    for word in found["words"]:
        assert len(new.tokenizer.encode(word["text"])) == 1
        pieces = old.tokenizer.encode(word["text"]).ids
        (id_,) = new.tokenizer.encode(word["text"]).ids
        table, before = (model.module.state_dict()["word.weight"].numpy() for model in (new, old))
        np.testing.assert_allclose(table[id_], before[pieces].mean(0), rtol=1e-5, atol=1e-6)
    card = Path("more/README.md").read_text()
    assert "**7 tokens** were added" in card
    assert f"has {found['tokens_after']:,} tokens instead of {found['tokens_before']:,}" in card
    assert "Not measured." in card
    assert maskling("evaluate", "more", "books", "--seq-length", "32").code == 0
    assert "give a new or empty folder" in maskling(*extend, "--out", "books").complaint


def test_named_words_are_added_and_the_model_goes_on_from_there(maskling: Command, here: Path):
    Path("words.txt").write_text("kalokalomi\n\nzuzuquax\n")
    said = maskling("tokenizer", "extend", "runs/mine", "--words", "words.txt", "--out", "more")
    assert said.code == 0, said
    assert "kalokalomi" in said.out
    assert "2 new tokens" in said.err
    prepare = ["prepare", "books", "--out", "data-more", "--tokenizer.path", "more", "--system.workers", "1"]
    assert maskling(*prepare, "--shards.validation-fraction", "0.2").code == 0
    train = ["train", "--data", "data-more", "--init", "more", "--out", "runs/more", "--train.steps", "2"]
    assert maskling(*train, *TRAIN[8:]).code == 0
    assert read_config(Path("runs/more/model"))["vocab_size"] == read_config(Path("runs/mine/model"))["vocab_size"] + 2


def test_transformers_opens_an_extended_model(maskling: Command, here: Path):
    transformers = pytest.importorskip("transformers")
    Path("words.txt").write_text("kalokalomi\n")
    assert maskling("tokenizer", "extend", "runs/mine", "--words", "words.txt", "--out", "more").code == 0
    fill = transformers.pipeline("fill-mask", model="more", device="cpu")
    assert fill.tokenizer.tokenize("kalokalomi") == ["kalokalomi"]
    theirs = {answer["token_str"]: answer["score"] for answer in fill("kalo [MASK] kalokalomi.", top_k=3)}
    ours = load("more", device="cpu").fill("kalo [MASK] kalokalomi.", top_k=3)
    assert {one.token: pytest.approx(one.probability, rel=1e-3) for one in next(iter(ours))} == theirs


def test_more_positions(maskling: Command, tmp_path: Path):
    tokenizer = small_models.wordpiece(tmp_path / "tok")
    module = small_models.bert(tokenizer)
    export_model(module, tokenizer, tmp_path / "short", CardFacts(seq_length=60))
    said = maskling("extend", tmp_path / "short", "--positions", "131", "--out", tmp_path / "long", "--json")
    assert said.code == 0, said
    assert json.loads(said.out) == {"folder": str(tmp_path / "long"), "positions": 131}
    short, long = load(tmp_path / "short", device="cpu"), load(tmp_path / "long", device="cpu")
    assert long.max_length == 131
    text = "the quick [MASK] fox sees a dog ."
    assert short.fill(text).as_dict() == long.fill(text).as_dict()
    assert not long.fill("a dog " * 60 + "[MASK]").cut
    assert (
        "**131 positions** instead of 67: the table of positions was repeated"
        in (tmp_path / "long/README.md").read_text()
    )
    assert "already has" in maskling("extend", tmp_path / "long", "--positions", "131", "--out", "x").complaint


def test_what_is_missing_is_asked_for(maskling: Command, here: Path):
    assert "give the words to add" in maskling("tokenizer", "extend", "runs/mine", "--out", "x").complaint
    assert "give a folder to write" in maskling("tokenizer", "extend", "runs/mine", "--text", "books").complaint
    assert "--positions and --out are needed" in maskling("extend", "runs/mine", "--out", "x").complaint
    assert "there is no such folder" in maskling("extend", "runs/none", "--positions", "600", "--out", "x").complaint
    assert (
        "--count" in maskling("tokenizer", "extend", "runs/mine", "--text", "a", "--count", "0", "--out", "x").complaint
    )
    said = maskling("tokenizer", "extend", "runs/mine", "--text", "books", "--min-count", "9999", "--out", "x")
    assert "no word of this text that occurs 9999 times" in said.complaint
    assert not Path("x").exists()


def test_a_fine_tuned_model_is_told_to_have_no_head_for_words(maskling: Command, tmp_path: Path):
    tokenizer = small_models.wordpiece(tmp_path / "tok")
    config = small_models.bert(tokenizer).config
    model = new_task_model(config, HeadConfig("classify", ("bad", "good")), seed=3)
    export_task_model(model, tokenizer, tmp_path / "tuned", TaskFacts())
    (tmp_path / "words.txt").write_text("kalokalomi\n")
    for words in (["extend", "--positions", "99"], ["tokenizer", "extend", "--words", tmp_path / "words.txt"]):
        complaint = maskling(*words, tmp_path / "tuned", "--out", tmp_path / "x").complaint
        assert "holds BertForSequenceClassification, which has no masked-token head; give the masked" in complaint
    assert not (tmp_path / "x").exists()


def test_a_text_that_the_vocabulary_cannot_spell_is_told_of_before_it_is_measured(maskling: Command, tmp_path: Path):
    tokenizer = small_models.wordpiece(tmp_path / "tok")
    export_model(small_models.bert(tokenizer), tokenizer, tmp_path / "model", CardFacts(seq_length=60))
    (tmp_path / "text.txt").write_text("the quick brown fox ☃ ☃ ☃ ☃ jumps over the lazy dog . " * 2)
    said = maskling("evaluate", tmp_path / "model", tmp_path / "text.txt", "--seq-length", "16")
    assert said.code == 0, said
    assert "% of the tokens of this text are unknown to the vocabulary and" in said.err
    (tmp_path / "text.txt").write_text("the quick brown fox jumps over the lazy dog . " * 2)
    assert "unknown" not in maskling("evaluate", tmp_path / "model", tmp_path / "text.txt", "--seq-length", "16").err
