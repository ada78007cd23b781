"""/fill, /score and /attention return what the model returns."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskling.serve.batching import Batcher
from maskling.serve.queued import QueuedService
from maskling.serve.service import Service
from served_models import Client, Opened

TEXT = "the quick [MASK] jumps over a [MASK]"


def test_fill_is_fill(client: Client, opened: Opened) -> None:
    model = opened("plain")
    one = client("plain").post("/fill", json={"text": TEXT, "top_k": 3})
    assert one.status_code == 200, one.text
    expected = model.fill(TEXT, top_k=3).as_dict()
    assert one.json()["text"] == TEXT
    for mask, wanted in zip(one.json()["masks"], expected["masks"], strict=True):
        assert [(each["word"], each["ids"], each["text"]) for each in mask] == [
            (each["word"], each["ids"], each["text"]) for each in wanted
        ]
        assert [each["probability"] for each in mask] == pytest.approx([each["probability"] for each in wanted])


def words_of(filled: dict[str, Any]) -> list[Any]:
    """What was put into a text: of each mask the candidates, or the ways to fill all."""
    if "together" in filled:
        return [one["words"] for one in filled["together"]]
    return [[one["word"] for one in mask] for mask in filled["masks"]]


@pytest.mark.parametrize("ways", [{"targets": ["dog", "fox"]}, {"whole_words": True}, {"joint": True}])
def test_every_option_of_fill_is_supported(client: Client, opened: Opened, ways: dict[str, object]) -> None:
    texts = [TEXT, "a [MASK]"]
    said = client("plain").post("/fill", json={"text": texts, "top_k": 2, **ways}).json()
    expected = [one.as_dict() for one in opened("plain").fill(texts, top_k=2, **ways)]  # type: ignore[call-overload]
    assert list(map(words_of, said)) == list(map(words_of, expected))
    plain = client("plain").post("/fill", json={"text": texts, "top_k": 2}).json()
    assert said != plain


def test_a_list_of_one_text_gets_a_list(client: Client) -> None:
    serving = client("plain")
    assert isinstance(serving.post("/fill", json={"text": [TEXT]}).json(), list)
    assert isinstance(serving.post("/score", json={"text": ["a dog"]}).json(), list)


@pytest.mark.parametrize("method", ["original", "within-word-l2r"])
def test_score_is_score(client: Client, opened: Opened, method: str) -> None:
    said = client("plain").post("/score", json={"text": "the foxes jump", "method": method, "per": "token"}).json()
    expected = opened("plain").score("the foxes jump", method=method)  # type: ignore[call-overload]
    assert said["total"] == pytest.approx(expected.total, abs=1e-5)
    assert [one["token"] for one in said["tokens"]] == [one.text for one in expected.tokens]
    assert said["perplexity"] == pytest.approx(expected.perplexity, rel=1e-5)


def test_a_text_without_tokens_has_no_perplexity(client: Client, opened: Opened) -> None:
    assert math.isnan(opened("plain").score("").perplexity)
    assert client("plain").post("/score", json={"text": ""}).json()["perplexity"] is None


def test_attention_is_attention(client: Client, opened: Opened) -> None:
    said = client("plain").post("/attention", json={"text": TEXT}).json()
    expected = opened("plain").attention(TEXT)
    assert said["tokens"] == list(expected.tokens)
    assert np.allclose(said["weights"], expected.weights, atol=6e-4)
    assert not said["cut"]


def test_maps_too_large_to_send_are_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskling.serve.service.MAX_ATTENTION_WEIGHTS", 100)
    said = client("plain").post("/attention", json={"text": TEXT})
    assert said.status_code == 422
    assert "too large to send" in said.json()["error"]


def test_in_int8_each_text_runs_by_itself(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []
    real = Service.embed

    def embed(service: Service, some: list[str], normalize: bool | None, truncate: bool) -> object:
        together.append(len(some))
        return real(service, some, normalize, truncate)

    monkeypatch.setattr(Service, "embed", embed)

    async def asked(service: Service) -> list[int]:
        together.clear()
        vectors = await QueuedService(service, Batcher()).embed(["a dog", "a fox", "paris"], None, False)
        assert len(vectors) == 3
        return together

    plain = Service.of(opened("plain"), "plain")
    assert asyncio.run(asked(plain)) == [3]
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model_quantized.onnx").write_bytes(b"")
    rounded = Service.of(replace(opened("plain"), folder=tmp_path), "int8")
    assert asyncio.run(asked(rounded)) == [1, 1, 1]


def test_vectors_are_normalized_as_the_folder_says_unless_the_request_does(opened: Opened, tmp_path: Path) -> None:
    model = opened("plain")
    (tmp_path / "modules.json").write_text('[{"type": "sentence_transformers.models.Normalize"}]')
    for folder, usual in ((model.folder, False), (tmp_path, True)):
        service = Service.of(replace(model, folder=folder), "a")
        for asked, normalized in ((None, usual), (True, True), (False, False)):
            (vector,) = service.embed(["a dog"], asked, False)
            assert np.allclose(vector.values, model.embed(["a dog"], normalize=normalized)[0], atol=1e-6)
