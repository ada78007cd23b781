"""Hugging Face's own client works for every task of a model, with responses in the form of its pipelines."""

from __future__ import annotations

import numpy as np
import pytest
from huggingface_hub import InferenceClient

from served_models import Address, Client, Opened

TEXT = "the quick [MASK] jumps"


def hub(address: str) -> InferenceClient:
    return InferenceClient(address, token="none", timeout=30)


def test_it_fills_masks(address: Address, opened: Opened) -> None:
    client, model = hub(address("plain")), opened("plain")
    found = client.fill_mask(TEXT, top_k=4)
    expected = model.fill(TEXT, top_k=4)[0]
    assert [(one.token_str, one.token, one.sequence) for one in found] == [
        (one.word, one.id, one.text) for one in expected
    ]
    assert [one.score for one in found] == pytest.approx([one.probability for one in expected])
    assert {one.token_str for one in client.fill_mask(TEXT, targets=["dog", "fox"])} == {"dog", "fox"}


def test_it_gets_vectors_and_similarities(address: Address, opened: Opened) -> None:
    client, model = hub(address("plain")), opened("plain")
    vectors = client.feature_extraction("a lazy dog")
    assert np.allclose(vectors, model.embed(["a lazy dog"]), atol=1e-5)
    assert np.linalg.norm(client.feature_extraction("a lazy dog", normalize=True)) == pytest.approx(1, abs=1e-5)
    one, *others = model.embed(["a dog", "a fox", "jumps over"], normalize=True)
    found = client.sentence_similarity("a dog", other_sentences=["a fox", "jumps over"])
    assert found == pytest.approx([float(one @ other) for other in others], abs=1e-5)


def test_it_classifies(address: Address, opened: Opened) -> None:
    found = hub(address("classify")).text_classification("the lazy dog")
    expected = opened("classify").predict("the lazy dog")
    assert {one.label: one.score for one in found} == pytest.approx(expected.scores)
    assert found[0].label == expected.label


@pytest.mark.parametrize("kind", ["tag", "pos"])
def test_it_tags_words(address: Address, opened: Opened, kind: str) -> None:
    text = "the fox sees Paris over a lazy dog of a gift"
    found = hub(address(kind)).token_classification(text)
    expected = opened(kind).predict(text)
    if kind == "tag":
        assert expected.entities
        assert [(one.entity_group, one.word, one.start, one.end) for one in found] == [
            (one.type, one.text, one.start, one.end) for one in expected.entities
        ]
    else:
        assert [(one.entity, one.word) for one in found] == [(one.tag, one.text) for one in expected.words]
    single = hub(address(kind)).token_classification(text, aggregation_strategy="none")
    assert [one.entity for one in single] == [one.tag for one in expected.words if one.tag != "O"]


def test_it_answers_questions(address: Address, opened: Opened) -> None:
    question, context = "who sees Paris?", "The quick fox, so lazy, sees a dog of Paris."
    found = hub(address("answer")).question_answering(question, context)
    expected = opened("answer").predict((question, context))
    assert (found.answer, found.start, found.end) == (expected.text, expected.start, expected.end)
    assert found.score == pytest.approx(expected.score, abs=1e-5)


def test_an_error_message_reaches_the_client(address: Address) -> None:
    with pytest.raises(Exception, match="422"):
        hub(address("plain")).feature_extraction("dog " * 100)
    with pytest.raises(Exception, match="422"):
        hub(address("plain")).feature_extraction("dog", prompt_name="query")
    assert hub(address("plain")).feature_extraction("dog " * 100, truncate=True).shape[0] == 1


@pytest.mark.parametrize(
    ("kind", "inputs", "one"),
    [
        ("classify", "a dog", True),
        ("classify", ["a dog", "a fox"], False),
        ("classify", [["a dog"], ["a fox"], ["paris"]], False),
        ("pairs", ["a dog", "a fox"], True),
        ("pairs", [["a dog", "a fox"], ["paris", "a gift"]], False),
        ("pairs", {"text": "a dog", "text_pair": "a fox"}, True),
        ("regress", "a dog", True),
        ("multi-label", ["a dog", "a fox"], False),
        ("tag", ["a dog", "a fox"], False),
        ("answer", {"question": "who?", "context": "a fox"}, True),
        ("answer", [{"question": "who?", "context": "a fox"}], False),
    ],
)
def test_one_input_gets_one_result_and_a_list_a_list(client: Client, kind: str, inputs: object, one: bool) -> None:
    serving = client(kind)
    said = serving.post("/predict", json={"inputs": inputs})
    assert said.status_code == 200, said.text
    answers = [said.json()] if one else said.json()
    assert len(answers) == (1 if one else len(inputs))  # type: ignore[arg-type]
    for answer in answers:
        assert isinstance(answer, dict if kind == "answer" else list)
    # Hugging Face's endpoint puts the labels of one text in a list of one.
    nested = kind in ("classify", "pairs", "regress", "multi-label")
    assert serving.post("/", json={"inputs": inputs}).json() == (answers if nested or not one else answers[0])


def test_two_texts_are_a_pair_if_the_model_takes_pairs(client: Client, opened: Opened) -> None:
    said = client("pairs").post("/predict", json={"inputs": ["a dog", "a fox"]}).json()
    expected = opened("pairs").predict(("a dog", "a fox"))
    assert {one["label"]: one["score"] for one in said} == pytest.approx(expected.scores)


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [("classify", 3), ("classify", []), ("classify", [1]), ("answer", "who?"), ("plain", {"a": 1}), ("plain", [])],
)
def test_inputs_of_another_form_are_refused(client: Client, kind: str, inputs: object) -> None:
    said = client(kind).post("/", json={"inputs": inputs})
    assert said.status_code == 422
    assert "give" in said.json()["error"] or "list of 1 to" in said.json()["error"]


def test_only_the_served_model_is_found_by_name(client: Client) -> None:
    serving = client("plain")
    said = serving.post("/models/plain", json={"inputs": TEXT, "parameters": {"top_k": 2}})
    assert [set(one) for one in said.json()] == [{"score", "token", "token_str", "sequence"}] * 2
    vectors = serving.post("/models/plain/pipeline/feature-extraction", json={"inputs": [TEXT, "a"]}).json()
    assert np.shape(vectors) == (2, len(vectors[0]))
    other = serving.post("/models/other", json={"inputs": "a"})
    assert (other.status_code, other.json()["error"]) == (404, "there is no model 'other' here, only 'plain'")
    wrong = serving.post("/models/plain/pipeline/text-classification", json={"inputs": "a"})
    assert "plain is not for text-classification; it is for fill-mask" in wrong.json()["error"]


def test_several_masks_and_several_texts(client: Client) -> None:
    said = (
        client("plain").post("/", json={"inputs": ["a [MASK] [MASK]", "a <mask>"], "parameters": {"top_k": 2}}).json()
    )
    assert [np.shape([[one["score"] for one in mask] for mask in said[0]]), len(said[1])] == [(2, 2), 2]
