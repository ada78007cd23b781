"""OpenAI's client, and the endpoints of text-embeddings-inference."""

from __future__ import annotations

import base64

import numpy as np
import openai
import pytest

from maskling import __version__
from served_models import Address, Client, Opened

TEXTS = ["the quick fox", "a dog", "the lazy dog jumps over paris"]


def client_of(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0, timeout=30)


@pytest.mark.parametrize("encoding", ["float", "base64", None])
def test_openai_gets_vectors_of_length_one(address: Address, opened: Opened, encoding: str | None) -> None:
    more = {} if encoding is None else {"encoding_format": encoding}
    said = client_of(address("plain")).embeddings.create(input=TEXTS, model="any", **more)  # type: ignore[call-overload]
    found = [one.embedding for one in said.data]
    if encoding == "base64":
        found = [np.frombuffer(base64.b64decode(one), "<f4") for one in found]
    assert np.allclose(found, opened("plain").embed(TEXTS, normalize=True), atol=1e-5)
    tokens = sum(len(row) for row in opened("plain").token_sequences(TEXTS)[0])
    assert (said.usage.prompt_tokens, said.usage.total_tokens) == (tokens, tokens)
    assert [one.index for one in said.data] == [0, 1, 2]
    assert said.model == "plain"


def test_openai_lists_the_served_model(address: Address) -> None:
    client = client_of(address("plain"))
    assert [one.id for one in client.models.list()] == ["plain"]
    assert client.models.retrieve("plain").owned_by == "maskling"
    with pytest.raises(openai.NotFoundError, match="there is no model 'gpt' here"):
        client.models.retrieve("gpt")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"input": [1, 2]}, "check_embedding_ctx_length=False"),
        ({"input": []}, "0 texts"),
        ({"input": "a", "dimensions": 3000}, "dimensions is 3,000"),
        ({"input": "dog " * 100}, "a text has more than"),
        ({"input": ["a"] * 2049}, "2,049 texts"),
    ],
)
def test_openai_gets_an_error_for_unsupported_input(address: Address, asked: dict[str, object], said: str) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match=said):
        client_of(address("plain")).embeddings.create(model="any", **asked)  # type: ignore[call-overload]


def test_embed(client: Client, opened: Opened) -> None:
    serving, model = client("plain"), opened("plain")
    assert np.allclose(
        serving.post("/embed", json={"inputs": TEXTS}).json(), model.embed(TEXTS, normalize=True), atol=1e-5
    )
    plain = serving.post("/embed", json={"inputs": TEXTS[0], "normalize": False}).json()
    assert np.allclose(plain, model.embed(TEXTS[:1]), atol=1e-5)
    long = {"inputs": "dog " * 100}
    assert serving.post("/embed", json=long).status_code == 422
    assert len(serving.post("/embed", json=long | {"truncate": True}).json()) == 1


def test_a_long_text_among_others_is_refused_by_itself(client: Client) -> None:
    said = client("plain").post("/embed", json={"inputs": ["a", "dog " * 100]})
    assert said.status_code == 422
    assert '"truncate": true' in said.json()["error"]


def test_tokenize(client: Client, opened: Opened) -> None:
    tokenizer = opened("plain").tokenizer
    (said,) = client("plain").post("/tokenize", json={"inputs": "The foxes jump"}).json()
    assert [one["text"] for one in said[:1] + said[-1:]] == ["[CLS]", "[SEP]"]
    assert [one["id"] for one in said[1:-1]] == tokenizer.encode("The foxes jump").ids.tolist()
    assert "".join("The foxes jump"[one["start"] : one["stop"]] for one in said[1:-1]) == "Thefoxesjump"
    (bare,) = client("plain").post("/tokenize", json={"inputs": ["a"], "add_special_tokens": False}).json()
    assert [one["special"] for one in bare] == [False]


@pytest.mark.parametrize(
    ("kind", "task", "labels"),
    [("plain", "fill-mask", []), ("classify", "classify", ["bad", "good"]), ("answer", "answer", ["start", "end"])],
)
def test_info_and_health(client: Client, kind: str, task: str, labels: list[str]) -> None:
    serving = client(kind)
    about = serving.get("/info").json()
    assert (about["model_id"], about["task"], about["labels"], about["version"]) == (kind, task, labels, __version__)
    assert about["max_input_length"] > 8
    assert serving.get("/health").json() == {}


def test_metrics_count_requests_texts_and_calls(client: Client) -> None:
    serving = client("plain")
    serving.post("/embed", json={"inputs": TEXTS})
    serving.post("/embed", json={"inputs": "a"})
    serving.post("/embed", json={"inputs": 3})
    serving.get("/nothing/of/the/kind")
    counted = dict(line.rsplit(" ", 1) for line in serving.get("/metrics").text.splitlines() if line[:1] != "#")
    assert float(counted['maskling_requests_total{path="/embed",status="200"}']) == 2
    assert float(counted['maskling_requests_total{path="/embed",status="422"}']) == 1
    assert float(counted['maskling_requests_total{path="other",status="404"}']) == 1
    assert float(counted["maskling_model_texts_total"]) == 4
    assert float(counted["maskling_model_calls_total"]) == 2
    assert float(counted['maskling_request_seconds_count{path="/embed"}']) == 3
