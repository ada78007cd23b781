"""Scores of texts are those of a slow loop through transformers, however many texts run together."""

from __future__ import annotations

import itertools
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskling.errors import MissingExtra, ModelError, SettingsError
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer import score
from maskling.infer.model import Model, load
from maskling.infer.score import MaskedCopies, ScoreTotals, pseudo_perplexity, score_texts, total_scores
from maskling.model.device import pick_device
from maskling.tokenizer import segmentation
from maskling.tokenizer.segmentation import WordRules
from oracles.slow_likelihood import slow_likelihood
from small_models import WORDS, bert, byte_level, modern, roberta, wordpiece

transformers = pytest.importorskip("transformers")

TEXTS = [
    "A souvenir of paris, the lazy dog's foxfox!",
    "the fox",
    "",
    "☃ souvenirs",
    "The quick brown fox jumps over the lazy dog and sees a gift in paris.",
    "the fox",
]
METHODS = pytest.mark.parametrize("method", ["original", "within-word-l2r"])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = wordpiece(tmp_path_factory.mktemp("wordpiece"))
    return Model(modern(tokenizer), tokenizer, pick_device("cpu", "fp32"), 40)


@METHODS
@pytest.mark.parametrize(
    ("make_tokenizer", "make_module"),
    [(wordpiece, bert), (byte_level, roberta), (wordpiece, modern)],
    ids=["bert", "roberta", "modern"],
)
def test_scores_are_those_of_a_slow_loop_through_transformers(make_tokenizer, make_module, method, tmp_path: Path):
    tokenizer = make_tokenizer(tmp_path / "vocabulary")
    export_model(make_module(tokenizer), tokenizer, tmp_path / "model", CardFacts())
    peer = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()
    model = load(tmp_path / "model", device="cpu")
    scored = model.score(TEXTS, method=method)
    for text, one in zip(TEXTS, scored, strict=True):
        tokens = tokenizer.encode(text)
        whole = method == "within-word-l2r"
        slow = slow_likelihood(peer, tokens.ids.tolist(), tokens.word_starts.tolist(), tokenizer.special, whole)
        np.testing.assert_allclose(one.log_probabilities, slow, rtol=0, atol=1e-5)
        assert one.total == pytest.approx(sum(slow), abs=1e-5)
        assert not one.windows


@METHODS
def test_a_text_that_is_too_long_is_scored_whole_each_token_in_the_stretch_around_it(method, tmp_path: Path):
    tokenizer = wordpiece(tmp_path)
    module = bert(tokenizer)
    model = Model(module, tokenizer, pick_device("cpu", "fp32"), 9)
    from oracles.transformers_twin import twin

    text = "the souvenir of paris is a souvenir, the fox jumps"
    (one, short) = model.score([text, "the fox sees the lazy dog of paris"], method=method)
    tokens = tokenizer.encode(text)
    slow = slow_likelihood(
        twin(module), tokens.ids.tolist(), tokens.word_starts.tolist(), tokenizer.special, method != "original", room=7
    )
    np.testing.assert_allclose(one.log_probabilities, slow, rtol=0, atol=1e-5)
    assert one.windows
    assert short.windows  # eight tokens, and room for seven


texts = st.lists(st.lists(st.sampled_from([*WORDS, "souvenir", "☃"]), max_size=9).map(" ".join), max_size=5)


@METHODS
@settings(max_examples=12)
@given(texts=texts, budget=st.integers(1, 300))
def test_a_text_scores_among_others_what_it_scores_alone(model: Model, texts: list[str], budget: int, method: str):
    together = score_texts(model, texts, method=method, batch_tokens=budget)
    shares: list[float] = []
    totals = total_scores(model, texts, method=method, on_progress=lambda done, total: shares.append(done / total))
    assert shares == sorted(shares)
    assert shares[-1:] in ([], [1.0])
    assert len(together) == len(texts)
    for text, one, total in zip(texts, together, totals, strict=True):
        alone = model.score(text, method=method)
        np.testing.assert_allclose(one.log_probabilities, alone.log_probabilities, rtol=0, atol=2e-5)
        assert total == pytest.approx(one.total, abs=1e-3)
        assert one.text == text


def test_the_head_sees_a_few_masked_places_at_a_time(model: Model, monkeypatch: pytest.MonkeyPatch):
    whole = model.score(TEXTS)
    asked = []
    predict = type(model.module).predict
    monkeypatch.setattr(
        type(model.module), "predict", lambda self, hidden: asked.append(hidden.shape) or predict(self, hidden)
    )
    monkeypatch.setattr(score, "_LOGITS", 3 * model.module.config.vocab_size)
    few = model.score(TEXTS)
    distinct = dict(zip(TEXTS, whole, strict=True))
    assert sum(rows for rows, _ in asked) == sum(len(one.ids) for one in distinct.values())
    assert max(rows for rows, _ in asked) == 3
    for one, other in zip(whole, few, strict=True):
        np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, rtol=0, atol=1e-5)


def test_sentences_with_the_same_tokens_are_scored_once(model: Model, monkeypatch: pytest.MonkeyPatch):
    rows = []
    run = score.encode_padded
    monkeypatch.setattr(score, "encode_padded", lambda *given: rows.append(len(given[2])) or run(*given))
    scored = model.score(["the fox jumps", "The   fox jumps", "a dog"] * 50)
    assert sum(rows) == 3 + 2
    assert scored[0].total == scored[1].total == scored[-3].total


def test_words_are_sums_of_their_tokens(model: Model):
    one = model.score("A souvenir sees, foxs")
    assert [token for token, _ in one.tokens] == ["a", "so", "##uven", "##ir", "sees", ",", "fox", "##s"]
    assert [word for word, _ in one.words] == ["a", "souvenir", "sees", ",", "foxs"]
    values = [value for _, value in one.tokens]
    sums = [values[0], sum(values[1:4]), values[4], values[5], sum(values[6:])]
    assert [value for _, value in one.words] == pytest.approx(sums)
    assert one.total == pytest.approx(sum(values))
    assert one.unknown == 0
    assert model.score("the ☃").unknown == 1


def test_perplexities_are_over_all_tokens_and_words(model: Model):
    scored = model.score(["A souvenir.", "the fox", ""])
    total = sum(one.total for one in scored)
    assert pseudo_perplexity(scored) == pytest.approx(math.exp(-total / (5 + 2)))
    totals = ScoreTotals()
    for one in scored:
        totals.add(one)
    assert totals.word_perplexity == pytest.approx(math.exp(-total / (3 + 2)))
    assert scored[1].perplexity == pytest.approx(math.exp(-scored[1].total / 2))
    assert math.isnan(scored[2].perplexity)
    assert scored[2].total == 0


@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=5), room=st.integers(1, 9), seed=st.integers(0, 2**16))
def test_copies_have_the_model_s_form(model: Model, lengths: list[int], room: int, seed: int):
    from maskling.tokenizer.encoding import Encoded

    draw = np.random.default_rng(seed)
    total = sum(lengths)
    ids, starts = draw.integers(20, 40, total).astype(np.int32), draw.random(total) < 0.5
    offsets = np.append(0, np.cumsum(lengths))
    special = model.tokenizer.special
    copies = MaskedCopies.of(Encoded(ids, starts, offsets), "within-word-l2r", room, special)
    if not total:
        return
    rows, length, column = copies.rows(draw.permutation(total))
    assert (rows[:, 0] == special.cls).all()
    assert (rows[np.arange(total), length - 1] == special.sep).all()
    assert (rows[np.arange(total), column] == special.mask).all()
    assert ((rows == special.pad) == (np.arange(rows.shape[1]) >= length[:, None])).all()
    assert (length <= room + 2).all()


def test_what_cannot_be_asked_is_refused(model: Model, tmp_path: Path):
    with pytest.raises(SettingsError, match="choose original or within-word-l2r"):
        model.score("fox", method="backwards")
    with pytest.raises(SettingsError, match="batch_tokens is 0"):
        score_texts(model, ["fox"], batch_tokens=0)
    headless = Model(model.module, model.tokenizer, model.compute, 40, headless=True)
    with pytest.raises(ModelError, match="no masked-token head, which scoring needs"):
        headless.score("fox")


def test_a_bf16_model_scores_about_the_same(model: Model):
    coarse = Model(model.module, model.tokenizer, pick_device("cpu", "bf16"), 40)
    for one, other in itertools.islice(zip(model.score(TEXTS), coarse.score(TEXTS), strict=True), 3):
        np.testing.assert_allclose(one.log_probabilities, other.log_probabilities, rtol=0.1, atol=0.3)
    assert torch.get_default_dtype() == torch.float32


def test_a_missing_dictionary_that_found_the_words_of_the_training_text_is_named(
    model: Model, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(segmentation, "_installed", lambda _: False)
    monkeypatch.setitem(sys.modules, "rjieba", None)
    segmentation._jieba.cache_clear()
    monkeypatch.setattr(model.tokenizer, "_recorded_words", WordRules("jieba", "spaces"))
    monkeypatch.setattr(model.tokenizer, "words", segmentation.NO_DICTIONARIES)
    assert model.score(["no Chinese"])[0].words
    with pytest.raises(MissingExtra, match="rjieba"):
        model.score(["plain", "中文"])
