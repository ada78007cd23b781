"""Models compare on the same words of the same text, whatever their vocabularies."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.corpus.settings import CorpusSettings
from maskling.data.prepare.prepare import prepare
from maskling.data.prepare.settings import PrepareSettings
from maskling.errors import CorpusError, DataError, ModelError, SettingsError
from maskling.evaluation.compare import Compared, compare_models
from maskling.evaluation.hidden_words import (
    CommonText,
    Passage,
    chosen_words,
    hidden_word_losses,
    passages_of_files,
    passages_of_split,
    read_passages,
    tokenize_passages,
)
from maskling.evaluation.minimal_pairs import MinimalPair, evaluate_pairs
from maskling.infer.model import Model
from maskling.model.attention import AttentionPattern
from maskling.model.device import pick_device
from maskling.model.masked_lm import MaskedLM
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import PROSE, bert, byte_level, modern, roberta, wordpiece

LOOSE = CorpusSettings.model_validate({"filters": {"min_characters": 1, "max_repeated_words": 1.0}})
LINES = ["Foxfoxing gifts, jumpsing dogs and a souvenirs"] + [
    line.strip() for line in PROSE.replace("?", ".").replace("\n", " ").split(".") if line.strip()
]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("texts")
    for number in range(30):
        turned = [LINES[(number + place) % len(LINES)] for place in range(3 + number % 5)]
        (folder / f"{number:02}.txt").write_text(f"{number}. " + ". ".join(turned) + ".\n", encoding="utf-8")
    return str(folder)


@pytest.fixture(scope="module")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return wordpiece(tmp_path_factory.mktemp("wordpiece"))


@pytest.fixture(scope="module")
def in_bytes(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return byte_level(tmp_path_factory.mktemp("bytes"))


def model_of(module: MaskedLM, tokenizer: Tokenizer, max_length: int = 60) -> Model:
    return Model(module, tokenizer, pick_device("cpu", "fp32"), max_length, folder=Path("nowhere"))


def silent(module: MaskedLM) -> MaskedLM:
    """A model that finds every token as likely as every other."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    return module


def compared(models: list[Model], text: CommonText, **how: object) -> Compared:
    progress: list[tuple[str, int, int]] = []
    names = [f"m{n}" for n in range(len(models))]
    found = compare_models(
        models,
        names,
        text,
        on_progress=lambda *call: progress.append(call),
        **{"rounds": 0, **how},  # type: ignore[arg-type]
    )
    assert all(0 < done <= total for _, done, total in progress)
    assert progress[-1][1] == progress[-1][2]
    return found


def slow_nats(model: Model, text: str, words: list[tuple[int, int]], vocabulary: Tokenizer) -> list[float]:
    """What is lost on each of some words of a text: one forward pass over everything, character by character."""
    encoding = vocabulary._library.encode(text, add_special_tokens=False)
    ids, spans = encoding.ids, [[a + (text[a:b].startswith(" ")), b] for a, b in encoding.offsets]
    owner = [
        next((n for n, (first, end) in enumerate(words) if any(first <= at < end for at in range(*span))), -1)
        for span in spans
    ]
    mask = vocabulary.special.mask
    shown = [vocabulary.special.cls, *(mask if own >= 0 else int(i) for i, own in zip(ids, owner, strict=True))]
    row = torch.tensor([[*shown, vocabulary.special.sep]])
    with torch.no_grad():
        visible = AttentionPattern.from_attention_mask(torch.ones_like(row))
        hidden = model.module(row, torch.arange(row.shape[1])[None], torch.zeros_like(row), visible)
        scores = model.module.predict(hidden)[0, 1:-1].double().log_softmax(-1)
    lost = [0.0] * len(words)
    for place, (own, wanted) in enumerate(zip(owner, ids, strict=True)):
        if own >= 0:
            lost[own] -= float(scores[place, wanted])
    return lost


@pytest.mark.parametrize("make", [bert, modern])
@pytest.mark.parametrize("kind", ["pieces", "in_bytes"])
def test_the_loss_of_a_word_is_that_of_its_pieces_all_hidden_at_once(
    make: Callable[[Tokenizer], MaskedLM], kind: str, texts: str, request: pytest.FixtureRequest
) -> None:
    vocabulary: Tokenizer = request.getfixturevalue(kind)
    model = model_of(make(vocabulary), vocabulary, 67)
    passages, _ = read_passages([texts], CorpusSettings(), 25, 12)
    laid = tokenize_passages(passages, vocabulary)
    hidden = [
        which & one.writable
        for which, one in zip(chosen_words([len(p.words) for p in passages], 0.3), laid, strict=True)
    ]
    shares: list[float] = []
    found = hidden_word_losses(model, laid, hidden, lambda done, total: shares.append(done / total))
    assert shares[-1] == 1
    expected = [
        lost
        for passage, which in zip(passages, hidden, strict=True)
        for lost in slow_nats(model, passage.text, [tuple(w) for w in passage.words[which].tolist()], vocabulary)
    ]
    assert len(expected) > 10
    assert found.pieces.max() > 1
    np.testing.assert_allclose(found.nats, expected, rtol=1e-5)


def test_a_model_that_knows_nothing_loses_the_logarithm_of_its_vocabulary_on_each_piece(
    texts: str, pieces: Tokenizer, in_bytes: Tokenizer
) -> None:
    models = [model_of(silent(bert(pieces)), pieces), model_of(silent(roberta(in_bytes)), in_bytes)]
    text = passages_of_files([texts], models, words=12)
    found = compared(models, text)
    for side, model in zip(found.sides, models, strict=True):
        assert side.loss_per_token == pytest.approx(math.log(model.tokenizer.vocab_size), rel=1e-6)
        assert side.loss_per_word == pytest.approx(side.loss_per_token * side.pieces_per_word)
        # Ties go to the smaller ids, so such a model guesses nothing.
        assert side.top1 == side.top5 == 0
    first, second = found.sides
    assert text.num_bytes is not None
    assert first.loss_per_byte == pytest.approx(first.loss_per_word * text.num_words / text.num_bytes)
    # The words are the same, so by word and by byte the two stand in the same relation.
    assert first.loss_per_byte / second.loss_per_byte == pytest.approx(first.loss_per_word / second.loss_per_word)
    assert (first.behind == 0) != (second.behind == 0)


def test_a_word_that_one_vocabulary_cannot_write_is_hidden_from_nobody(
    pieces: Tokenizer, in_bytes: Tokenizer, tmp_path: Path
) -> None:
    source = tmp_path / "text.txt"
    sentences = ["The quick ЖЖЖ fox jumps over the lazy dog.", *LINES]
    source.write_text("\n\n".join(". ".join(sentences[place:] + sentences[:place]) for place in range(7)) + ".")
    models = [model_of(bert(pieces), pieces), model_of(roberta(in_bytes), in_bytes, 67)]
    text = passages_of_files([str(source)], models, LOOSE, rate=0.99, words=10)
    assert 0.01 < text.unwritable[0] < 0.3
    assert text.unwritable[1] == 0
    passages, _ = read_passages([str(source)], LOOSE, 1000, 10)
    shown = {
        passage.text[first:end]
        for passage, which in zip(passages, text.hidden, strict=True)
        for first, end in passage.words[~which].tolist()
    }
    assert "ЖЖЖ" in shown
    alone = passages_of_files([str(source)], models[1:], LOOSE, rate=0.99, words=10)
    assert alone.num_words > text.num_words


def test_which_words_are_hidden_does_not_depend_on_the_models(
    texts: str, pieces: Tokenizer, in_bytes: Tokenizer
) -> None:
    one, other = model_of(bert(pieces), pieces), model_of(modern(in_bytes), in_bytes, 67)
    alone, both = passages_of_files([texts], [one], words=12), passages_of_files([texts], [one, other], words=12)
    for first, second in zip(alone.hidden, both.hidden, strict=True):
        np.testing.assert_array_equal(first, second)
    share = both.num_words / sum(map(len, both.hidden))
    assert share == pytest.approx(0.15, abs=0.05)


def test_passages_tile_the_words_of_a_document_and_keep_sentences_whole(tmp_path: Path) -> None:
    sentences = [" ".join(f"w{n}x{k}" for k in range(3 + n % 11)) + "." for n in range(40)]
    sentences[20] = " ".join(f"long{k}" for k in range(50)) + "."
    (tmp_path / "text.txt").write_text(" ".join(s.capitalize() for s in sentences))
    passages, total = read_passages([str(tmp_path / "text.txt")], CorpusSettings(), 1000, 20)
    assert total == len(passages)
    words = [p.text[a:b].lower() for p in passages for a, b in p.words.tolist()]
    assert words == [word.strip(".") for sentence in sentences for word in sentence.split()]
    assert max(len(p.words) for p in passages) <= 20
    assert sum(p.text.endswith(".") for p in passages) >= len(passages) - 3


def test_passages_are_drawn_evenly_and_in_their_order(tmp_path: Path) -> None:
    lines = [" ".join(f"number{n}x{k}" for k in range(10)) + "." for n in range(600)]
    for part in range(3):
        (tmp_path / f"{part}.txt").write_text("\n\n".join(lines[200 * part : 200 * part + 200]))
    some, total = read_passages([str(tmp_path)], LOOSE, 150, 12)
    numbers = [int(one.text.split("x")[0][6:]) for one in some]
    assert (len(some), total) == (150, 600)
    assert numbers == sorted(set(numbers))
    assert all(30 <= sum(n // 200 == part for n in numbers) <= 70 for part in range(3))
    more, _ = read_passages([str(tmp_path)], LOOSE, 300, 12)
    assert {one.text for one in some} < {one.text for one in more}


def test_chinese_characters_are_words_and_marks_are_not(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("我来到北京清华大学，学习 BERT-2！", encoding="utf-8")
    (passage,), _ = read_passages([str(tmp_path / "text.txt")], LOOSE, 10, 64)
    assert [passage.text[a:b] for a, b in passage.words.tolist()] == [*"我来到北京清华大学学习", "BERT", "2"]


def test_a_passage_that_one_model_cannot_see_whole_is_left_out_for_all(
    texts: str, pieces: Tokenizer, in_bytes: Tokenizer
) -> None:
    models = [model_of(bert(pieces), pieces, 67), model_of(modern(in_bytes), in_bytes, 20)]
    text = passages_of_files([texts], models, words=16)
    assert text.too_long > 0
    assert len(text.sequences[0]) == len(text.sequences[1]) > 0
    assert max(len(one.ids) for one in text.sequences[1]) <= 20
    with pytest.raises(SettingsError, match="no passage of 16 words fits into the 9 tokens"):
        passages_of_files([texts], [models[0], replace(models[1], max_length=9)], words=16)


def test_a_prepared_folder_is_for_models_of_its_tokenizer(
    texts: str, pieces: Tokenizer, in_bytes: Tokenizer, tmp_path: Path
) -> None:
    pieces.save(tmp_path / "vocabulary")
    settings = PrepareSettings.model_validate(
        {
            "tokenizer": {"path": str(tmp_path / "vocabulary")},
            "shards": {"validation_fraction": 0.5},
            "system": {"workers": 1},
        }
    )
    for _ in prepare([texts], tmp_path / "data", settings):
        pass
    one, other = model_of(silent(bert(pieces)), pieces), model_of(modern(pieces), pieces)
    found = compared([one, other, one], passages_of_split(tmp_path / "data", [one, other, one]))
    assert found.sides[0].loss_per_token == pytest.approx(math.log(pieces.vocab_size), rel=1e-6)
    assert found.sides[2] == replace(found.sides[0], name="m2")
    assert found.sides[0].loss_per_byte == pytest.approx(
        compared([one], passages_of_files([texts], [one])).sides[0].loss_per_byte, rel=0.15
    )
    stranger = model_of(modern(in_bytes), in_bytes)
    with pytest.raises(DataError, match="compare models of different tokenizers on text files") as error:
        passages_of_split(tmp_path / "data", [one, stranger])
    assert in_bytes.fingerprint in str(error.value)


def test_pairs_are_judged_and_an_encoder_is_only_weighed_and_timed(texts: str, pieces: Tokenizer) -> None:
    pairs = [MinimalPair("the fox jumps", "the fox jump", "a"), MinimalPair("a dog sees", "a dog see", "b")]
    one, encoder = model_of(bert(pieces), pieces), replace(model_of(modern(pieces), pieces), headless=True)
    text = passages_of_files([texts], [one, encoder], words=12, passages=5)
    found = compared([one, encoder], text, pairs=pairs, rounds=2)
    first, second = found.sides
    assert first.pair_accuracy == evaluate_pairs(one, pairs).macro_average
    assert second.pair_accuracy is second.loss_per_word is second.behind is second.top1 is None
    for side in found.sides:
        assert side.tokens_per_second / side.texts_per_second == pytest.approx(
            np.mean([len(p.ids) for p in text.sequences[0]])
        )
    with pytest.raises(ModelError, match="no masked-token head"):
        compare_models([encoder], ["e"], text)


def test_text_without_a_passage_is_refused(pieces: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("Too short.")
    with pytest.raises(CorpusError, match="no passage of 8 words"):
        passages_of_files([str(tmp_path / "short.txt")], [model_of(bert(pieces), pieces)])


def test_a_token_that_reaches_into_a_word_is_hidden_with_it(pieces: Tokenizer) -> None:
    (laid,) = tokenize_passages([Passage("a souvenir sees", np.array([[0, 1], [2, 10], [11, 15]]))], pieces)
    tokens = [[pieces.token(int(i)) for i in laid.ids[first:end]] for first, end in laid.words.tolist()]
    assert tokens == [["a"], ["so", "##uven", "##ir"], ["sees"]]
