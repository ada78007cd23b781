"""The inputs that the page offers: of held-out data, of the model card, or in the script of the vocabulary."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.model import load
from maskling.serve.app import create_app
from maskling.serve.examples import example_inputs, main_script
from maskling.serve.service import Service
from maskling.tokenizer.tokenizer import Tokenizer
from served_models import Client, Opened
from small_models import SPECIAL, bert
from tiny_corpus import jsonl, prepared, settings

CHINESE = "今天的天气很好我们一起去公园散步这家图书馆收藏了很多古代的书籍"


def _service(folder: Path, words: list[str]) -> Service:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *dict.fromkeys(words)]) + "\n", encoding="utf-8")
    tokenizer = Tokenizer.load(folder / "vocab.txt")
    export_model(bert(tokenizer), tokenizer, folder / "model", CardFacts())
    return Service.of(load(folder / "model", device="cpu"), "some")


def test_a_chinese_model_gets_chinese_texts(tmp_path: Path) -> None:
    service = _service(tmp_path / "zh", [*CHINESE, *"，。", "the", "of", "and"])
    found = example_inputs(service)
    assert (found["origin"], found["script"]) == ("script", "CJK")
    assert "今天的天气很好，我们一起去公园散步。" in found["texts"]
    assert not any(text.isascii() for text in found["texts"])


@pytest.mark.parametrize(
    ("words", "script"),
    [
        ([*"абвгдежзи", "привет"], "CYRILLIC"),
        ([*"あいうえおかきくけこ", *"日本語天気", "the"], "HIRAGANA"),
        ([*"가나다라마바사"], "HANGUL"),
        ([*"0123456789"], "LATIN"),
    ],
)
def test_the_script_of_a_vocabulary(tmp_path: Path, words: list[str], script: str) -> None:
    assert main_script(_service(tmp_path / "one", words)) == script


def test_texts_of_the_card_come_before_those_of_the_script(tmp_path: Path) -> None:
    service = _service(tmp_path / "one", ["the", "dog", "barks", "loudly", "at", "night", "."])
    card = service.model.folder / "README.md"
    card.write_text('---\nlicense: mit\nwidget:\n- text: "the dog <mask> loudly at night ."\n---\n# A model\n')
    found = example_inputs(service)
    assert (found["origin"], found["texts"]) == ("card", ["the dog [MASK] loudly at night ."])


def test_texts_of_the_held_out_data_of_a_run(tmp_path: Path) -> None:
    documents = [f"A sentence about matter number {index} is written. Another one follows it." for index in range(60)]
    data = tmp_path / "data"
    prepared(jsonl(tmp_path / "some.jsonl", documents), data, settings(shards={"validation_fraction": 0.3}))
    tokenizer = Tokenizer.load(data)
    run = tmp_path / "run"
    run.mkdir()
    export_model(bert(tokenizer), tokenizer, run / "model", CardFacts())
    (run / "config.toml").write_text('[data]\npath = "data"\n')
    service = Service.of(load(run, device="cpu"), "run")
    found = example_inputs(service)
    assert found["origin"] == "held-out"
    assert 4 <= len(found["texts"]) <= 8
    known = {"".join(document.lower().split()) for document in documents}
    assert all(any("".join(text.lower().split()) in one for one in known) for text in found["texts"])
    # Another machine may not see the data; gone or damaged data are no error.
    assert example_inputs(service, of_data=False)["origin"] == "script"
    (data / "manifest.json").write_text("{")
    assert example_inputs(service)["origin"] == "script"
    shutil.rmtree(data)
    assert example_inputs(service)["origin"] == "script"


def test_inputs_of_the_dev_file_of_a_fine_tuned_model(tmp_path: Path, opened: Opened) -> None:
    for kind, rows in {
        "answer": [{"question": "who sees paris ?", "context": "the quick fox sees paris", "answers": ["fox"]}],
        "pairs": [{"text": "the quick fox", "text_pair": "the lazy dog", "label": "same"}],
        "tag": [{"words": ["the", "quick", "fox", "sees", "paris"], "tags": ["O", "O", "O", "O", "B-PER"]}],
    }.items():
        run = tmp_path / kind
        shutil.copytree(opened(kind).folder, run / "model")
        (run / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = {"pairs": "classify"}.get(kind, kind)
        (run / "config.toml").write_text(f'[task]\nkind = "{task}"\n[data]\ntrain = "gone.jsonl"\ndev = "dev.jsonl"\n')
        (run / "dev.jsonl").rename(tmp_path / "dev.jsonl")
        found = example_inputs(Service.of(load(run, device="cpu"), kind))
        assert found["origin"] == "held-out", kind
        if kind == "answer":
            assert found["questions"] == [{"question": "who sees paris ?", "context": "the quick fox sees paris"}]
        elif kind == "pairs":
            assert found["pairs"] == [("the quick fox", "the lazy dog")]
        else:
            assert found["texts"] == ["the quick fox sees paris"]


def test_the_endpoint_shows_no_data_to_other_machines(client: Client, opened: Opened) -> None:
    assert client("plain").get("/examples").json()["origin"] == "script"
    app = create_app(Service.of(opened("plain"), "one"), compared=Service.of(opened("plain"), "other"))
    from fastapi.testclient import TestClient

    with TestClient(app) as serving:
        assert serving.get("/info").json()["compared"] == "other"
        assert serving.get("/compare/info").json()["model_id"] == "other"
        body = {"text": "the quick [MASK] jumps", "top_k": 2}
        assert serving.post("/compare/fill", json=body).json() == serving.post("/fill", json=body).json()
        assert serving.post("/compare/fill", json={"text": "no mask"}).status_code == 422
