"""Endpoints of the page: one head with an overview, generation with its steps, words with their places."""

from __future__ import annotations

import numpy as np
import pytest

from maskling.errors import SettingsError
from maskling.serve.app import create_app
from maskling.serve.service import Service, reduced
from served_models import Client, Opened

TEXT = "The quick brown fox jumps over the lazy dog."


def test_one_head_and_means_equal_those_of_all_maps(client: Client, opened: Opened) -> None:
    serving, weights = client("plain"), opened("plain").attention(TEXT).weights
    expected = {
        (1, 2): weights[1, 2],
        (0, "mean"): weights[0].mean(0),
        ("mean", 1): weights[:, 1].mean(0),
        ("mean", "mean"): weights.mean((0, 1)),
        (1, None): weights[1].mean(0),
    }
    for (layer, head), right in expected.items():
        answer = serving.post("/attention", json={"text": TEXT, "layer": layer, "head": head}).json()
        np.testing.assert_allclose(answer["weights"], right, atol=6e-4)
        np.testing.assert_allclose(answer["overview"], weights, atol=6e-4)
        assert [(one["layer"], one["head"]) for one in answer["heads"]] == [(a, b) for a in range(2) for b in range(3)]
    wrong = serving.post("/attention", json={"text": TEXT, "layer": 2, "head": 0})
    assert wrong.status_code == 422
    assert wrong.json()["error"] == "layer: input should be 'mean', or less than or equal to 1"


def test_an_overview_keeps_the_largest_weight_of_each_block() -> None:
    weights = np.random.default_rng(0).random((2, 1, 53, 53), dtype=np.float32)
    small = reduced(weights, 10)
    edges = [53 * block // 10 for block in range(11)]
    for row in range(10):
        for column in range(10):
            block = weights[:, :, edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
            assert np.array_equal(small[:, :, row, column], block.max((2, 3)))


def test_the_words_of_a_score_have_their_places(client: Client) -> None:
    answer = client("plain").post("/score", json={"text": "  The souvenir,  in Paris", "per": "word"}).json()
    places = [answer["text"][one["start"] : one["stop"]] for one in answer["words"]]
    assert places == ["The", "souvenir", ",", "in", "Paris"]


def test_generation_tells_the_step_of_each_token(client: Client) -> None:
    serving = client("plain")
    body = {"text": "the quick", "length": 6, "order": "left-to-right", "count": 2, "seed": 4}
    answers = serving.post("/generate", json=body).json()
    assert len(answers) == 2
    for one in answers:
        assert one["steps"] == [0, 1, 2, 3, 4, 5]
        assert one["text"].startswith("the quick")
        assert sum(one["log_probabilities"]) == pytest.approx(one["log_probability"])
    easy = serving.post("/generate", json=body | {"order": "confidence", "steps": 3, "count": 1}).json()[0]
    assert sorted(easy["steps"]) == [0, 0, 1, 1, 2, 2]
    assert serving.post("/generate", json=body | {"length": 500}).status_code == 422
    assert serving.post("/generate", json={"text": TEXT, "count": 1000, "length": 1000}).status_code == 422


def test_models_of_different_tasks_are_not_compared(opened: Opened) -> None:
    with pytest.raises(SettingsError, match="for tag, and plain for fill-mask"):
        create_app(Service.of(opened("plain"), "plain"), compared=Service.of(opened("tag"), "other"))
