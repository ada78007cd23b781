"""Held-out numbers: known where the model is simple, the same each time, and of the right text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.shards import open_shards
from maskling.errors import CorpusError, DataError, ModelError, SettingsError
from maskling.evaluation.held_out import encode_files, evaluate_held_out, file_text, split_text
from maskling.exporting.cards import CardFacts
from maskling.exporting.folder import export_model
from maskling.infer.model import Model, load
from maskling.model.device import pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.train.recipe import Recipe
from small_models import PROSE, bert, byte_level, modern, wordpiece

SENTENCES = [
    line.strip() for line in PROSE.replace("!", ".").replace("?", ".").replace("\n", " ").split(".") if line.strip()
]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty documents, each different."""
    folder = tmp_path_factory.mktemp("texts")
    for number in range(20):
        turned = [SENTENCES[(number + place) % len(SENTENCES)] for place in range(4 + number % 7)]
        (folder / f"{number:02}.txt").write_text(f"{number}. " + ". ".join(turned) + ".\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return wordpiece(tmp_path_factory.mktemp("wordpiece"))


@pytest.fixture(scope="module")
def prepared(texts: Path, tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("prepared") / "data"
    vocabulary = tmp_path_factory.mktemp("vocabulary")
    tokenizer.save(vocabulary)
    settings = PrepareSettings.model_validate(
        {"tokenizer": {"path": str(vocabulary)}, "shards": {"validation_fraction": 0.5}, "system": {"workers": 1}}
    )
    for _ in prepare([str(texts)], out, settings):
        pass
    return out


def model_of(module: MaskedLM, tokenizer: Tokenizer, folder: Path = Path("nowhere")) -> Model:
    return Model(module, tokenizer, pick_device("cpu", "fp32"), 60, folder=folder)


def frozen(module: MaskedLM, bias: np.ndarray | None = None) -> MaskedLM:
    """A model that says the same everywhere: equal scores, or those given."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.zero_()
            if name == "decoder_bias" and bias is not None:
                parameter.copy_(torch.from_numpy(bias))
    return module


def test_a_model_that_knows_nothing_has_the_loss_of_the_vocabulary(tokenizer: Tokenizer, texts: Path) -> None:
    model = model_of(frozen(bert(tokenizer)), tokenizer)
    found = evaluate_held_out(model, file_text([str(texts)], model))
    size = math.log(tokenizer.vocab_size)
    documents = [path.read_text(encoding="utf-8").strip() for path in sorted(texts.iterdir())]
    tokens = [tokenizer.encode(text) for text in documents]
    num_tokens = sum(map(len, tokens))
    assert found.mlm_loss == pytest.approx(size, rel=1e-6)
    assert found.perplexity == pytest.approx(tokenizer.vocab_size, rel=1e-6)
    assert found.loss_per_word == pytest.approx(size * num_tokens / sum(int(t.word_starts.sum()) for t in tokens))
    assert found.loss_per_byte == pytest.approx(size * num_tokens / sum(len(text.encode()) for text in documents))
    assert found.predictions == pytest.approx(0.15 * num_tokens, rel=0.1)
    assert found.pair_accuracy is None


def test_a_model_that_knows_frequencies_has_about_the_entropy_of_single_tokens(
    tokenizer: Tokenizer, texts: Path
) -> None:
    text = file_text([str(texts)], model_of(bert(tokenizer), tokenizer))
    counts = np.zeros(tokenizer.vocab_size)
    for block in text.split.blocks():
        np.add.at(counts, np.asarray(block.tokens), 1)
    shares = counts[counts > 0] / counts.sum()
    assert text.unigram_entropy == pytest.approx(-(shares * np.log(shares)).sum())
    model = model_of(frozen(bert(tokenizer), np.log(counts / counts.sum() + 1e-9).astype(np.float32)), tokenizer)
    found = evaluate_held_out(model, text, rate=0.8)
    assert found.mlm_loss == pytest.approx(text.unigram_entropy, rel=0.05)
    most = sorted(counts[tokenizer.ordinary_ids] / counts.sum(), reverse=True)
    assert found.top1 == pytest.approx(most[0], rel=0.2)
    assert found.top5 == pytest.approx(sum(most[:5]), rel=0.2)


@pytest.mark.parametrize("make", [bert, modern])
def test_numbers_repeat_to_the_last_digit_and_change_with_the_batch_only_by_rounding(
    make: Callable[[Tokenizer], MaskedLM], tokenizer: Tokenizer, prepared: Path
) -> None:
    model = model_of(make(tokenizer), tokenizer)
    text = split_text(prepared, model)
    first = evaluate_held_out(model, text, seq_length=31)
    assert evaluate_held_out(model, text, seq_length=31) == first
    other = evaluate_held_out(model, text, seq_length=31, batch_tokens=40)
    assert other.predictions == first.predictions
    assert other.top1 == first.top1
    for name in ("mlm_loss", "loss_per_word", "loss_per_byte"):
        assert getattr(other, name) == pytest.approx(getattr(first, name), rel=1e-5)
    # Other tokens are hidden for it: whole words.
    assert first.loss_per_word != pytest.approx(first.mlm_loss * text.tokens_per_word, rel=1e-7)
    fewer = evaluate_held_out(model, text, seq_length=31, examples=3)
    assert fewer.predictions < first.predictions


def test_the_held_out_documents_of_a_prepared_folder_are_measured(tokenizer: Tokenizer, prepared: Path) -> None:
    model = model_of(bert(tokenizer), tokenizer)
    text = split_text(prepared, model)
    shards = open_shards(prepared)
    assert 0 < text.split.num_documents == shards.split("validation").num_documents < 20
    assert text.unigram_entropy == shards.manifest.unigram_entropy
    assert f"{text.split.num_documents} documents" in text.name


def test_raw_text_becomes_the_tokens_that_prepare_makes_of_it(
    tokenizer: Tokenizer, texts: Path, prepared: Path
) -> None:
    def documents(name: str) -> set[tuple[int, ...]]:
        split = encode_files([str(texts)], tokenizer).split if name == "raw" else open_shards(prepared).split(name)
        found = set()
        for block in split.blocks():
            ends = np.asarray(block.sentences)[np.asarray(block.documents)]
            for first, end in pairwise(ends):
                found.add(tuple(np.asarray(block.tokens[first:end]).tolist()))
        return found

    assert len(documents("raw")) == 20
    assert documents("raw") == documents("train") | documents("validation")


def test_the_bytes_of_a_prepared_folder_and_of_its_text_agree(
    tokenizer: Tokenizer, texts: Path, prepared: Path
) -> None:
    model = model_of(bert(tokenizer), tokenizer)
    assert split_text(prepared, model).tokens_per_byte == pytest.approx(
        file_text([str(texts)], model).tokens_per_byte, rel=1e-9
    )


def test_another_tokenizer_is_refused_by_both_names(
    texts: Path, prepared: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = byte_level(tmp_path / "bytes")
    model = model_of(modern(other), other)
    with pytest.raises(DataError) as error:
        split_text(prepared, model)
    assert other.fingerprint in str(error.value)
    assert tokenizer.fingerprint in str(error.value)
    # Its text may still be used, and then the two vocabularies compare by word and byte.
    assert evaluate_held_out(model, file_text([str(texts)], model)).loss_per_byte


def test_pairs_are_judged_where_there_is_a_head_for_it(tokenizer: Tokenizer, prepared: Path) -> None:
    model = model_of(bert(tokenizer, pair_head=True), tokenizer)
    text = split_text(prepared, model)
    found = evaluate_held_out(model, text, seq_length=31)
    assert found.pair_accuracy is not None
    assert found.pairs > 5
    assert evaluate_held_out(model, text, seq_length=31, pairing="single").pair_accuracy is None
    with pytest.raises(SettingsError, match="no pair head"):
        evaluate_held_out(model_of(bert(tokenizer), tokenizer), text, pairing="nsp")
    with pytest.raises(SettingsError, match="no pairing 'pairs'"):
        evaluate_held_out(model, text, pairing="pairs")


def test_one_document_is_measured_without_pairs(tokenizer: Tokenizer, texts: Path) -> None:
    model = model_of(bert(tokenizer, pair_head=True), tokenizer)
    text = file_text([str(texts / "00.txt")], model)
    assert evaluate_held_out(model, text).pair_accuracy is None
    with pytest.raises(DataError, match="only one"):
        evaluate_held_out(model, text, pairing="nsp")


def test_a_run_is_measured_as_it_measures_itself(tokenizer: Tokenizer, prepared: Path, tmp_path: Path) -> None:
    module = bert(tokenizer, pair_head=True)
    recipe = Recipe.model_validate(
        {"data": {"seq_length": 29}, "evaluate": {"rate": 0.3}, "pairing": {"kind": "sop"}, "model": {"kind": "bert"}}
    )
    run = tmp_path / "run"
    export_model(module, tokenizer, run / "model", CardFacts())
    (run / "config.toml").write_text(recipe.to_toml(), encoding="utf-8")
    model = load(run, device="cpu")
    found = evaluate_held_out(model, split_text(prepared, model))
    plain = replace(model, folder=tmp_path / "elsewhere")
    assert evaluate_held_out(plain, split_text(prepared, model), pairing="sop", seq_length=29, rate=0.3) == found
    assert evaluate_held_out(plain, split_text(prepared, model)) != found


def test_what_cannot_be_measured_is_refused(tokenizer: Tokenizer, prepared: Path, tmp_path: Path) -> None:
    model = model_of(bert(tokenizer), tokenizer)
    text = split_text(prepared, model)
    with pytest.raises(SettingsError, match="68 tokens are longer than the 67"):
        evaluate_held_out(model, text, seq_length=68)
    with pytest.raises(ModelError, match="no masked-token head"):
        evaluate_held_out(replace(model, headless=True), text)
    with pytest.raises(DataError, match="not a prepared folder"):
        split_text(tmp_path, model)
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(CorpusError):
        file_text([str(tmp_path / "empty.txt")], model)
