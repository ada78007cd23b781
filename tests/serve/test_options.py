"""Options of the clients: truncation, dimensions, token ids, aggregation, answers, null and default fields."""

from __future__ import annotations

from typing import Any

import numpy as np
import openai
import pytest
from fastapi.testclient import TestClient
from transformers import AutoModelForTokenClassification, AutoTokenizer, pipeline

from maskling.infer.results import Answered, Span
from maskling.serve.app import create_app
from maskling.serve.service import Service
from maskling.serve.task_forms import ranked_answers
from served_models import Address, Client, Opened

LONG = "dog " * 100


def test_openai_clients_can_have_long_texts_cut(address: Address, opened: Opened) -> None:
    client = openai.OpenAI(base_url=f"{address('plain')}/v1", api_key="none", max_retries=0, timeout=30)
    expected = opened("plain").embed("dog " * (opened("plain").max_length - 2), normalize=True)
    for more in ({"truncate": True}, {"truncate_prompt_tokens": -1}):
        said = client.embeddings.create(input=LONG, model="m", encoding_format="float", extra_body=more)
        assert np.allclose(said.data[0].embedding, expected, atol=1e-5)
        assert said.usage.prompt_tokens == opened("plain").max_length
    with pytest.raises(openai.UnprocessableEntityError, match="truncate_prompt_tokens is 7"):
        client.embeddings.create(input=LONG, model="m", extra_body={"truncate_prompt_tokens": 7})


def test_the_server_can_cut_by_default_and_a_request_can_refuse(opened: Opened) -> None:
    with TestClient(create_app(Service.of(opened("plain"), "plain", truncate=True))) as client:
        assert client.post("/embed", json={"inputs": LONG}).status_code == 200
        assert client.post("/embed", json={"inputs": LONG, "truncate": None}).status_code == 200
        assert client.post("/v1/embeddings", json={"input": LONG}).status_code == 200
        assert client.post("/embed", json={"inputs": LONG, "truncate": False}).status_code == 422


@pytest.mark.parametrize("path", ["/embed", "/v1/embeddings", "/"])
def test_dimensions_are_the_first_numbers_scaled_again(client: Client, opened: Opened, path: str) -> None:
    whole = opened("plain").embed("a dog")[:5]
    expected = whole / np.linalg.norm(whole)
    body: dict[str, Any] = {"input" if path == "/v1/embeddings" else "inputs": "a dog", "dimensions": 5}
    if path == "/":
        body["parameters"] = {"normalize": True}
    said = client("plain").post(path, json=body).json()
    found = said["data"][0]["embedding"] if path == "/v1/embeddings" else said[0]
    assert np.allclose(found, expected, atol=1e-5)


def test_token_ids_are_taken_between_cls_and_sep_alone(client: Client, opened: Opened) -> None:
    serving, (ids,) = client("plain"), opened("plain").token_sequences(["a lazy dog"])[0]
    expected = serving.post("/v1/embeddings", json={"input": "a lazy dog"}).json()["data"][0]["embedding"]
    for given in (ids.tolist(), [ids.tolist()]):
        said = serving.post("/v1/embeddings", json={"input": given}).json()
        assert np.allclose(said["data"][0]["embedding"], expected, atol=1e-5)
    for given in (ids[1:-1].tolist(), [15339], [[2, 99_999, 3]], [2, -1, 3], [True]):
        said = serving.post("/v1/embeddings", json={"input": given})
        assert said.status_code == 422
        assert "check_embedding_ctx_length=False" in said.text or "something else" in said.text


@pytest.mark.parametrize(
    ("kind", "path", "body"),
    [
        ("plain", "/embed", {"inputs": "a", "prompt_name": None, "dimensions": None, "truncate": None}),
        ("plain", "/embed", {"inputs": "a", "truncation_direction": "Right", "normalize": None}),
        ("classify", "/predict", {"inputs": "a", "raw_scores": False, "truncate": False}),
        ("classify", "/predict", {"inputs": "a", "truncation_direction": "right"}),
        ("classify", "/", {"inputs": "a", "parameters": {"function_to_apply": "softmax"}}),
        ("multi-label", "/", {"inputs": "a", "parameters": {"function_to_apply": "sigmoid", "top_k": 2.0}}),
        ("regress", "/", {"inputs": "a", "parameters": {"function_to_apply": "none"}}),
        ("tag", "/", {"inputs": "a", "parameters": {"ignore_labels": ["O"], "stride": None}}),
        ("plain", "/", {"inputs": "a", "parameters": None}),
        ("pairs", "/predict", {"inputs": ["a", "b"], "truncate": True}),
        ("pairs", "/rerank", {"query": "a", "texts": ["b"], "truncate": True, "truncation_direction": "Right"}),
    ],
)
def test_null_and_what_is_done_anyway_pass(client: Client, kind: str, path: str, body: dict[str, Any]) -> None:
    said = client(kind).post(path, json=body)
    assert said.status_code == 200, said.text


@pytest.mark.parametrize(
    ("kind", "body", "said"),
    [
        ("classify", {"inputs": "a", "parameters": {"function_to_apply": "sigmoid"}}, "input should be 'softmax'"),
        ("tag", {"inputs": "a", "parameters": {"aggregation_strategy": "bogus"}}, "aggregation_strategy"),
        ("tag", {"inputs": "a", "parameters": {"ignore_labels": ["B-PER"]}}, "ignore_labels"),
        ("pos", {"inputs": "a", "parameters": {"aggregation_strategy": "max"}}, "mark no entities"),
        ("plain", {"inputs": "a [MASK]", "parameters": {"normalize": True}}, "normalize is for vectors"),
        ("plain", {"inputs": "a", "parameters": {"top_k": 3}}, "top_k is for masks"),
        ("answer", {"inputs": {"question": "a", "context": "b", "extra": 1}}, "something else"),
    ],
)
def test_what_would_change_nothing_or_the_answer_is_refused(
    client: Client, kind: str, body: dict[str, Any], said: str
) -> None:
    answer = client(kind).post("/", json=body)
    assert answer.status_code == 422
    assert said in answer.json()["error"]


def test_too_many_inputs_are_counted(client: Client) -> None:
    said = client("plain").post("/embed", json={"inputs": ["a"] * 10_000})
    assert said.json()["error"] == "inputs: more than 2,048 items; send them in several requests"


@pytest.mark.parametrize("strategy", ["simple", "first", "average", "max"])
def test_entities_are_aggregated_as_in_transformers(client: Client, opened: Opened, strategy: str) -> None:
    folder = opened("tag").folder
    model = AutoModelForTokenClassification.from_pretrained(folder)
    theirs = pipeline(
        "token-classification",
        model=model,
        tokenizer=AutoTokenizer.from_pretrained(folder),
        aggregation_strategy=strategy,
        device="cpu",
    )
    differs = 0
    for text in (
        "the foxes jumped, a souvenir of paris",
        "foxing dogs and giftuven parising",
        "doged foxs. jumpsing so",
    ):
        body = {"inputs": text, "parameters": {"aggregation_strategy": strategy}}
        ours = client("tag").post("/", json=body).json()
        expected = theirs(text)
        assert [(one["entity_group"], one["start"], one["end"]) for one in ours] == [
            (one["entity_group"], one["start"], one["end"]) for one in expected
        ]
        assert [one["score"] for one in ours] == pytest.approx([float(one["score"]) for one in expected], abs=1e-4)
        assert [one["word"] for one in ours] == [text[one["start"] : one["end"]] for one in expected]
        usual = client("tag").post("/", json={"inputs": text}).json()
        differs += ours != usual
    assert bool(differs) == (strategy != "first")


def test_words_that_are_split_already_are_words_for_any_number(client: Client, opened: Opened) -> None:
    for words in (["parising"], ["the-fox", "sees"], ["a", "fox's", "dog", "paris"]):
        body = {"inputs": [words], "parameters": {"aggregation_strategy": "none"}}
        (said,) = client("tag").post("/", json=body).json()
        expected = opened("tag").predict(tuple(words))
        assert [one["word"] for one in said] == [one.text for one in expected.words if one.tag != "O"]


def test_no_answer_is_ranked_among_the_answers() -> None:
    spans = (Span("a", 0, 1, 0.5), Span("b", 2, 3, 0.1))
    given = Answered("", 0, 0, 0.2, 0.2, spans)
    assert [one.text for one in ranked_answers(given, 3, True)] == ["a", "", "b"]
    assert [one.text for one in ranked_answers(given, 2, True)] == ["a", ""]
    assert [one.text for one in ranked_answers(given, 3, False)] == ["a", "b"]
    assert [one.text for one in ranked_answers(Answered("", 0, 0, 1.0, 1.0, ()), 3, False)] == [""]


def test_questions_can_have_no_answer_or_shorter_ones(client: Client, opened: Opened) -> None:
    serving = client("answer")
    inputs = {"question": "who sees?", "context": "the quick fox sees a lazy dog over paris"}
    empty = opened("answer").predict((inputs["question"], inputs["context"]), allow_none=True).no_answer
    for top_k in (1, 4):
        for allowed in (True, False):
            parameters = {"top_k": top_k, "handle_impossible_answer": allowed, "max_answer_len": 1}
            said = serving.post("/", json={"inputs": inputs, "parameters": parameters}).json()
            answers = [said] if top_k == 1 else said
            scores = [one["score"] for one in answers]
            assert scores == sorted(scores, reverse=True)
            assert all(" " not in one["answer"] for one in answers)
            blank = [one["score"] for one in answers if one["answer"] == ""]
            assert blank == (pytest.approx([empty]) if allowed and empty >= scores[-1] else [])
    longer = serving.post("/", json={"inputs": inputs, "parameters": {"top_k": 30, "max_answer_len": 3}}).json()
    assert max(len(one["answer"].split()) for one in longer) > 1
    assert serving.post("/", json={"inputs": {"question": "a", "context": ""}, "parameters": {"top_k": 3}}).json()


def test_vectors_of_tokens_and_similarities(client: Client, opened: Opened) -> None:
    serving, model = client("plain"), opened("plain")
    texts = ["a lazy dog", "paris"]
    said = serving.post("/embed_all", json={"inputs": texts}).json()
    for text, vectors in zip(texts, said, strict=True):
        assert np.allclose(vectors, model.layers(text)[-1], atol=1e-5)
        assert np.allclose(np.mean(vectors, axis=0), model.embed(text), atol=1e-5)
    inputs = {"source_sentence": "a dog", "sentences": ["a fox", "paris"]}
    one, *others = model.embed(["a dog", "a fox", "paris"], normalize=True)
    for path in ("/similarity", "/"):
        found = serving.post(path, json={"inputs": inputs}).json()
        assert found == pytest.approx([float(one @ other) for other in others], abs=1e-5)


def test_ids_are_decoded(client: Client, opened: Opened) -> None:
    serving, (ids,) = client("plain"), opened("plain").token_sequences(["a lazy dog"])[0]
    assert serving.post("/decode", json={"ids": ids.tolist()}).json() == ["a lazy dog"]
    whole = serving.post("/decode", json={"ids": [ids.tolist()] * 2, "skip_special_tokens": False}).json()
    assert whole == ["[CLS] a lazy dog [SEP]"] * 2
    assert "there is no token" in serving.post("/decode", json={"ids": [9999]}).json()["error"]
    assert "ids is neither" in serving.post("/decode", json={"ids": [[1], 2]}).json()["error"]


@pytest.mark.parametrize(("kind", "label"), [("regress", None), ("pairs", "same")])
def test_texts_are_ranked_for_a_query(client: Client, opened: Opened, kind: str, label: str | None) -> None:
    texts = ["a dog", "the quick fox", "paris", "a gift"]
    predictions = opened(kind).predict([("a fox", text) for text in texts])
    scores = [float(one) if label is None else one.scores[label] for one in predictions]
    order = sorted(range(4), key=lambda index: -scores[index])
    serving = client(kind)
    said = serving.post("/rerank", json={"query": "a fox", "texts": texts, "return_text": True}).json()
    assert [(one["index"], one["text"]) for one in said] == [(index, texts[index]) for index in order]
    assert [one["score"] for one in said] == pytest.approx([scores[index] for index in order])
    documents = [texts[0], {"text": texts[1]}, *texts[2:]]
    body = {"query": "a fox", "documents": documents, "top_n": 2, "return_documents": True, "model": "any"}
    for path in ("/v1/rerank", "/v2/rerank"):
        results = serving.post(path, json=body).json()["results"]
        assert [(one["index"], one["document"]["text"]) for one in results] == [(i, texts[i]) for i in order[:2]]


@pytest.mark.parametrize(
    ("kind", "said"), [("plain", "use /similarity"), ("classify", "which of its labels (bad, good)"), ("tag", "pairs")]
)
def test_models_that_cannot_rank_say_so(client: Client, kind: str, said: str) -> None:
    answer = client(kind).post("/rerank", json={"query": "a", "texts": ["b"]})
    assert answer.status_code == 422
    assert said in answer.json()["error"]


@pytest.mark.parametrize(
    ("kind", "path", "body", "said"),
    [
        ("classify", "/predict", {"inputs": "a", "truncate": True}, "truncate: only false is supported"),
        ("plain", "/embed", {"inputs": "a", "prompt_name": "query"}, "prompt_name: not supported; leave it out"),
        (
            "tag",
            "/",
            {"inputs": "a", "parameters": {"aggregation_strategy": "bogus"}},
            "parameters.aggregation_strategy: input should be 'none', 'simple', 'first', 'average' or 'max'",
        ),
    ],
)
def test_errors_name_the_field_and_nothing_of_pydantic(
    client: Client, kind: str, path: str, body: dict[str, Any], said: str
) -> None:
    assert client(kind).post(path, json=body).json()["error"] == said
