"""Vectors do not depend on what else is embedded with a text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maskling.errors import SettingsError
from maskling.infer.embed import embed_texts
from maskling.infer.model import Model
from maskling.model.attention import AttentionPattern
from maskling.model.device import pick_device
from small_models import WORDS, bert, modern, wordpiece


@pytest.fixture(scope="module", params=[bert, modern], ids=["bert", "modern"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = wordpiece(tmp_path_factory.mktemp("wordpiece"))
    return Model(request.param(tokenizer), tokenizer, pick_device("cpu", "fp32"), 23)


def alone(model: Model, text: str) -> np.ndarray:
    """(length, hidden): the states of one text, unpadded."""
    special = model.tokenizer.special
    ids = torch.tensor([[special.cls, *model.tokenizer.encode(text).ids[:21], special.sep]])
    with torch.no_grad():
        visible = AttentionPattern.from_attention_mask(ids >= 0)
        return model.module(ids, torch.arange(ids.shape[1])[None], None, visible)[0].numpy()


texts = st.lists(st.lists(st.sampled_from([*WORDS, "souvenir", "☃"]), max_size=30).map(" ".join), max_size=9)


@given(texts=texts, batch_tokens=st.integers(1, 200))
def test_each_vector_is_the_mean_of_the_states_of_its_text_alone(
    model: Model, texts: list[str], batch_tokens: int
) -> None:
    done = embed_texts(model, texts, batch_tokens=batch_tokens)
    assert done.vectors.shape == (len(texts), 24)
    assert done.vectors.dtype == np.float32
    assert done.cut == sum(len(model.tokenizer.encode(text)) > 21 for text in texts)
    for text, vector in zip(texts, done.vectors, strict=True):
        np.testing.assert_allclose(vector, alone(model, text).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("unit", ["fox ", "fox", "thequickbrownfoxofmanyletters" * 4 + " ", " \n", "你好"])
def test_of_a_very_long_text_its_beginning_is_enough(model: Model, unit: str) -> None:
    long = unit * (60_000 // len(unit)) + " dog dog dog"
    (row,), cut = model.token_sequences([long])
    ids = model.tokenizer.encode(long).ids
    assert row.tolist()[1:-1] == list(ids[:21])
    assert cut == (len(ids) > 21)


def test_the_rest_of_a_very_long_text_is_not_tokenized(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    encode = model.tokenizer.encode_batch
    monkeypatch.setattr(
        type(model.tokenizer), "encode_batch", lambda _, texts: (seen.extend(map(len, texts)), encode(texts))[1]
    )
    model.token_sequences(["fox " * 15_000, "a dog"])
    assert max(seen) < 1000


def test_progress_is_reported_after_each_batch(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskling.infer.embed.CHUNK_TEXTS", 5)
    calls: list[tuple[int, int]] = []
    model.embed(["the fox", "a dog", "paris"] * 3, batch_tokens=8, on_progress=lambda *call: calls.append(call))
    done = [call[0] for call in calls]
    assert done == sorted(set(done))
    assert len(done) > 2
    assert calls[-1] == (9, 9)


def test_cls_pooling_takes_the_first_state(model: Model) -> None:
    vectors = model.embed(["the fox", "a dog sees a fox in paris"], pooling="cls")
    np.testing.assert_allclose(vectors[0], alone(model, "the fox")[0], rtol=1e-4, atol=1e-5)


def test_normalized_vectors_have_length_one_and_the_same_direction(model: Model) -> None:
    plain, unit = model.embed(["the fox", "a dog"]), model.embed(["the fox", "a dog"], normalize=True)
    np.testing.assert_allclose(unit, plain / np.linalg.norm(plain, axis=1, keepdims=True), rtol=1e-5)


def test_one_text_gives_one_vector(model: Model) -> None:
    np.testing.assert_array_equal(model.embed("the fox"), model.embed(["the fox"])[0])


def test_texts_that_are_cut_are_said(model: Model) -> None:
    with pytest.warns(UserWarning, match="1 of 2 texts longer than 23 tokens"):
        model.embed(["fox", "fox " * 40])


def test_what_cannot_be_asked_is_refused(model: Model) -> None:
    with pytest.raises(SettingsError, match="choose mean or cls"):
        model.embed(["fox"], pooling="max")
    with pytest.raises(SettingsError, match="batch_tokens is 0"):
        model.embed(["fox"], batch_tokens=0)


def test_a_run_of_texts_is_never_one_batch_beyond_its_budget(model: Model, tmp_path: Path) -> None:
    from maskling.infer.forward import batches_by_length

    lengths = [5, 1, 30, 7, 7, 2]
    for budget in (1, 14, 30, 1000):
        found = list(batches_by_length(lengths, budget))
        assert sorted(int(number) for batch in found for number in batch) == list(range(6))
        assert all(len(batch) == 1 or len(batch) * max(lengths[n] for n in batch) <= budget for batch in found)
