"""Predictions do not depend on company or order; long inputs count whole; what is not understood is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from maskling.data.labelled.encode_questions import encode_questions
from maskling.data.labelled.encode_texts import Windows, encode_texts
from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import ModelError, SettingsError
from maskling.infer.model import Model
from maskling.infer.predict import best_spans, pool_windows, softmax, words_in
from maskling.infer.results import Label, Labels
from maskling.infer.task_logits import TorchTaskScorer
from maskling.model.device import pick_device
from maskling.model.tasks.config import HeadConfig, HeadKind
from maskling.model.tasks.model import new_task_model
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import bert, byte_level, modern, roberta, wordpiece

FAMILIES = {"bert": (wordpiece, bert), "roberta": (byte_level, roberta), "modern": (wordpiece, modern)}
LABELS: dict[HeadKind, tuple[str, ...]] = {
    "classify": ("bad", "so so", "good"),
    "multi-label": ("a", "b", "c", "d"),
    "regress": ("score",),
    "tag": ("O", "B-PER", "I-PER", "B-LOC"),
    "answer": ("start", "end"),
}
LONG = "the quick brown fox jumps over the lazy dog , so the dog sees a gift of paris . "


def model(folder: Path, kind: HeadKind, family: str = "bert", max_length: int = 40) -> Model:
    tokenizer = FAMILIES[family][0](folder)
    config = FAMILIES[family][1](tokenizer).config
    task = new_task_model(config, HeadConfig(kind, LABELS[kind], pooling="mean"), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in task.head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    compute = pick_device("cpu", "fp32")
    judge = TorchTaskScorer(task.eval(), compute, tokenizer.special.pad)
    return Model(task.encoder, tokenizer, compute, max_length, True, folder, judge)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", LABELS)
def test_a_prediction_does_not_depend_on_its_company(tmp_path: Path, family: str, kind: HeadKind) -> None:
    ours = model(tmp_path, kind, family)
    contexts = [LONG * 3, "a dog", "the fox sees paris !", LONG, "of a"]
    asked: list[Any] = [("who sees paris ?", context) for context in contexts] if kind == "answer" else contexts
    together = ours.predict(asked)
    one_by_one = [ours.predict(one) for one in asked]
    in_one_row = ours.predict(asked, batch_tokens=1)
    for found in (one_by_one, in_one_row):
        for one, other in zip(together, found, strict=True):
            assert flat(one) == pytest.approx(flat(other), abs=1e-5)
    assert ours.predict([]) == []


def flat(prediction: Any) -> dict[str, Any]:
    """The numbers and names of a prediction, side by side."""
    found: dict[str, Any] = {}

    def put(name: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                put(f"{name}.{key}", inner)
        elif isinstance(value, list | tuple):
            for place, inner in enumerate(value):
                put(f"{name}.{place}", inner)
        else:
            found[name] = value

    put("", prediction.as_dict())
    return found


def test_a_long_text_is_judged_by_the_mean_over_its_windows(tmp_path: Path) -> None:
    ours = model(tmp_path, "classify")
    text = LONG * 7
    found = ours.predict(text)
    windows = encode_texts([TextRecord("", text)], ours.tokenizer, ours.max_length).windows
    assert len(windows) > 3
    logits = []
    for number in range(len(windows)):
        ids = windows[number]
        words = ours.tokenizer.decode(ids[1:-1])
        assert len(ids) <= ours.max_length
        alone = ours.predict(words)
        logits.append([np.log(alone.scores[name]) for name in LABELS["classify"]])
    expected = softmax(np.average(logits, axis=0, weights=windows.length)[None])[0]
    assert [found.scores[name] for name in LABELS["classify"]] == pytest.approx(expected, abs=1e-5)
    assert found.label == LABELS["classify"][int(expected.argmax())]


def test_windows_are_pooled_by_record_and_weighted_by_their_tokens() -> None:
    length = np.array([4, 7, 12])
    windows = Windows(np.zeros(23, dtype=np.int32), length, length, np.array([1, 0, 1]))
    logits = np.array([[1, 2], [3, 6], [5, 7]], dtype=np.float32)
    assert pool_windows(logits, windows, 2).tolist() == [[3, 6], [pytest.approx(4), pytest.approx(5.75)]]


def test_labels_above_the_threshold_are_those_of_a_text_best_first(tmp_path: Path) -> None:
    ours = model(tmp_path, "multi-label")
    text = "the lazy dog"
    scores = ours.predict(text).scores
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    for threshold in (0.0, sorted(scores.values())[1], 1.0):
        found = ours.predict(text, threshold=threshold)
        assert isinstance(found, Labels)
        assert found.labels == tuple(label for label, score in scores.items() if score >= threshold)


def test_a_pair_is_judged_as_a_pair(tmp_path: Path) -> None:
    ours = model(tmp_path, "classify")
    pair = ours.predict(("the fox", "a dog"))
    assert isinstance(pair, Label)
    assert pair.score != pytest.approx(ours.predict(("a dog", "the fox")).score, abs=1e-4)
    assert ours.predict([("the fox", "a dog")])[0].scores == pytest.approx(pair.scores)
    with pytest.warns(UserWarning, match="1 of 2 inputs had a part longer than the model takes"):
        ours.predict([("the fox", "a dog"), (LONG * 5, "a dog")])


@pytest.mark.parametrize("family", FAMILIES)
def test_every_word_of_a_long_sentence_has_its_tag(tmp_path: Path, family: str) -> None:
    ours = model(tmp_path, "tag", family)
    words = (LONG * 4).split()
    found = ours.predict(tuple(words))
    assert [word.text for word in found.words] == words
    assert set(found.tags) <= set(LABELS["tag"])
    text = ours.predict(LONG * 4)
    assert text.tags == found.tags
    for word in text.words:
        assert text.text[word.start : word.end] == word.text
    for entity in text.entities:
        assert text.text[entity.start : entity.end] == entity.text
    # At its beginning a long sentence is read as a short one of the same context would be.
    assert ours.predict(TaggedRecord("", tuple(words))) == found


class AlwaysTheSame:
    """A judge that has made up its mind: eight words and their tags."""

    head_config = HeadConfig("tag", LABELS["tag"])

    def words(self, *_: Any) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[[1, 2, 0, 3, 0, 2, 1, 0]] * 20


def test_entities_join_the_words_of_bio_tags(tmp_path: Path) -> None:
    ours = model(tmp_path, "tag")
    said = Model(ours.module, ours.tokenizer, ours.compute, 40, True, tmp_path, AlwaysTheSame())  # type: ignore[arg-type]
    found = said.predict("Fox Dog  sees Paris, lazy quick!")
    assert [(word.text, word.tag) for word in found.words] == [
        ("Fox", "B-PER"),
        ("Dog", "I-PER"),
        ("sees", "O"),
        ("Paris", "B-LOC"),
        (",", "O"),
        ("lazy", "I-PER"),
        ("quick", "B-PER"),
        ("!", "O"),
    ]
    assert [(one.text, one.type, one.start, one.end) for one in found.entities] == [
        ("Fox Dog", "PER", 0, 7),
        ("Paris", "LOC", 14, 19),
        ("lazy", "PER", 21, 25),
        ("quick", "PER", 26, 31),
    ]
    assert found.entities[0].score == pytest.approx(1, abs=1e-6)


@given(text=st.text(alphabet="ab Z.,'-é\u0301北京\t\u00a0（😀1", max_size=30))
def test_a_text_is_split_into_the_words_of_berts_pre_tokenizer(text: str) -> None:
    chinese = pre_tokenizers.Split(Regex("[\u4e00-\u9fff]"), "isolated")
    expected: list[tuple[str, tuple[int, int]]] = []
    for piece, (begin, end) in pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), chinese]).pre_tokenize_str(
        text
    ):
        # Marks belong to the character before them, also to a punctuation mark.
        marks = len(piece) - len(piece.lstrip("\u0301"))
        if marks and expected and expected[-1][1][1] == begin:
            before, (first, _) = expected.pop()
            expected.append((before + piece[:marks], (first, begin + marks)))
            piece, begin = piece[marks:], begin + marks
        if piece:
            expected.append((piece, (begin, end)))
    _, words, begins = words_in(text)
    assert [(word, (begin, begin + len(word))) for word, begin in zip(words, begins, strict=True)] == expected


def records(tokenizer: Tokenizer) -> list[QuestionRecord]:
    return [
        QuestionRecord("1", "who sees paris ?", LONG * 4),
        QuestionRecord("2", "who ?", "a dog"),
        QuestionRecord("3", "of what is the gift ?", LONG),
        QuestionRecord("4", "who ?", ""),
    ]


def slowly(record: int, encoded: Any, logits: np.ndarray, n_best: int, longest: int) -> tuple[list[Any], float]:
    """Every pair of tokens of every window, one after the other."""
    places: dict[tuple[int, int], float] = {}
    none = 1.0
    windows = encoded.windows
    for number in range(len(windows)):
        if windows.record[number] != record:
            continue
        first = int(windows.first[number])
        tokens = [first, *range(first + int(encoded.context[number]), first + int(encoded.context_end[number]))]
        start, end = (torch.tensor(logits[tokens, side]).double().softmax(-1).tolist() for side in (0, 1))
        none = min(none, start[0] * end[0])
        for i in range(1, len(tokens)):
            for j in range(i, min(len(tokens), i + longest)):
                place = int(encoded.begins[tokens[i]]), int(encoded.ends[tokens[j]])
                places[place] = max(places.get(place, 0.0), start[i] * end[j])
    return sorted(places.items(), key=lambda item: -item[1])[:n_best], none


@pytest.mark.parametrize("n_best", [1, 4, 100_000])
@pytest.mark.parametrize("longest", [1, 3, 30])
@pytest.mark.parametrize("seed", [0, 1])
def test_answers_are_the_best_of_all_pairs_of_tokens(tmp_path: Path, n_best: int, longest: int, seed: int) -> None:
    tokenizer = wordpiece(tmp_path)
    asked = records(tokenizer)
    encoded = encode_questions(asked, tokenizer, 40, max_question=10)
    assert np.bincount(encoded.windows.record).max() > 2
    logits = np.random.default_rng(seed).normal(size=(len(encoded.windows.ids), 2)).astype(np.float32) * 2
    found = best_spans(asked, encoded, logits, n_best=n_best, longest=longest)
    for number, (record, answer) in enumerate(zip(asked, found, strict=True)):
        expected, none = slowly(number, encoded, logits, n_best, longest)
        assert [(span.start, span.end) for span in answer.best] == [place for place, _ in expected]
        assert [span.score for span in answer.best] == pytest.approx([score for _, score in expected])
        assert answer.no_answer == pytest.approx(none)
        assert all(span.text == record.context[span.start : span.end] for span in answer.best)
        if expected:
            assert (answer.start, answer.end) == expected[0][0]


def test_no_answer_is_given_only_where_it_is_allowed_and_likeliest(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path)
    asked = records(tokenizer)
    encoded = encode_questions(asked, tokenizer, 40, max_question=10)
    logits = np.zeros((len(encoded.windows.ids), 2), dtype=np.float32)
    logits[encoded.windows.first] = 9
    # One window of the first record finds something: that is an answer, whatever the others say.
    logits[encoded.windows.first[1]] = -9
    for allow_none, texts in ((False, [True, True, True, False]), (True, [True, False, False, False])):
        found = best_spans(asked, encoded, logits, allow_none=allow_none, longest=30)
        assert [bool(answer.text) for answer in found] == texts
    assert best_spans(asked, encoded, logits, allow_none=True, longest=30)[1].score > 0.9


def test_a_model_without_a_head_says_how_to_get_one(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path)
    plain = Model(bert(tokenizer), tokenizer, pick_device("cpu", "fp32"), 40, False, tmp_path)
    with pytest.raises(ModelError, match="no head for a task, which predict needs; make one with 'maskling finetune"):
        plain.predict("a")


@pytest.mark.parametrize(
    ("kind", "asked", "message"),
    [
        ("classify", [("a", "b", "c")], "takes texts, or pairs of them as tuples of two"),
        ("classify", [7], "takes texts"),
        ("tag", [["a", 7]], "tags words"),
        ("answer", ["who ?"], "answers questions: give pairs"),
        ("answer", [TextRecord("", "a")], "answers questions"),
    ],
)
def test_what_a_model_does_not_judge_is_refused(tmp_path: Path, kind: HeadKind, asked: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        model(tmp_path, kind).predict(asked)


@pytest.mark.parametrize("how", [{"threshold": 1.5}, {"n_best": 0}, {"batch_tokens": 0}])
def test_numbers_out_of_range_are_refused(tmp_path: Path, how: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        model(tmp_path, "classify").predict("a", **how)
