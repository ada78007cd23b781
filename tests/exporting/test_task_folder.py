"""A task folder is what it says: to transformers and its pipelines, and to maskling; or it is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskling.data.labelled.records import QuestionRecord, TextRecord
from maskling.errors import ModelError
from maskling.exporting import folder as folder_module
from maskling.exporting.cards import TaskFacts
from maskling.exporting.folder import export_task_model
from maskling.infer.model import load
from maskling.model.tasks.config import HeadConfig, HeadKind
from maskling.model.tasks.model import TaskModel, new_task_model
from maskling.tokenizer.tokenizer import Tokenizer
from small_models import bert, byte_level, modern, roberta, wordpiece

transformers = pytest.importorskip("transformers")

FAMILIES = {
    "bert": (wordpiece, bert),
    "roberta": (byte_level, roberta),
    "modern": (wordpiece, modern),
}
LABELS: dict[HeadKind, tuple[str, ...]] = {
    "classify": ("bad", "so so", "good"),
    "multi-label": ("a", "b", "c", "d"),
    "regress": ("score",),
    "tag": ("O", "B-PER", "I-PER", "B-LOC", "I-LOC"),
    "answer": ("start", "end"),
}
TEXTS = ["The quick brown fox jumps over the lazy dog.", "A souvenir!", "foxing, of the dog of a"]
PAIRS = [("the fox", "a quick dog."), ("A gift of Paris", "so?"), ("!", "the lazy dog jumps over the fox")]


def task_model(tokenizer: Tokenizer, family: str, kind: HeadKind) -> TaskModel:
    """Weights so large that labels differ from text to text."""
    config = FAMILIES[family][1](tokenizer).config
    model = new_task_model(config, HeadConfig(kind, LABELS[kind], pooling="mean"), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))
    return model.eval()


def made(tmp_path: Path, family: str, kind: HeadKind) -> Path:
    tokenizer = FAMILIES[family][0](tmp_path / "vocabulary")
    facts = TaskFacts(seq_length=40, base="/home/me/runs/mine", metrics={"accuracy": 0.8125})
    export_task_model(task_model(tokenizer, family, kind), tokenizer, tmp_path / "model", facts)
    return tmp_path / "model"


def theirs(folder: Path, auto: str, *texts: Any) -> Any:
    """What a model of transformers says to a padded batch."""
    model, report = getattr(transformers, auto).from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    encoded = transformers.AutoTokenizer.from_pretrained(folder)(*texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        return encoded, model.eval()(**encoded)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("pairs", [False, True])
def test_texts_and_pairs_get_the_probabilities_of_auto_model_for_sequence_classification(
    tmp_path: Path, family: str, pairs: bool
) -> None:
    folder = made(tmp_path, family, "classify")
    asked = [list(part) for part in zip(*PAIRS, strict=True)] if pairs else [TEXTS]
    _, expected = theirs(folder, "AutoModelForSequenceClassification", *asked)
    found = load(folder, device="cpu").predict(list(PAIRS if pairs else TEXTS))
    probabilities = [[label.scores[name] for name in LABELS["classify"]] for label in found]
    np.testing.assert_allclose(probabilities, expected.logits.softmax(-1), atol=1e-5)
    assert len({label.label for label in found} | {round(label.score, 3) for label in found}) > 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["classify", "multi-label", "regress"])
def test_the_pipeline_for_texts_names_the_labels_that_maskling_names(
    tmp_path: Path, family: str, kind: HeadKind
) -> None:
    folder = made(tmp_path, family, kind)
    pipe = transformers.pipeline("text-classification", model=str(folder), device="cpu")
    how = {"function_to_apply": "none"} if kind == "regress" else {"top_k": None}
    said = pipe(TEXTS, **how)
    found = load(folder, device="cpu").predict(TEXTS)
    for one, ours in zip(said, found, strict=True):
        if kind == "regress":
            assert one == {"label": "score", "score": pytest.approx(ours, abs=1e-5)}
        else:
            assert {row["label"]: row["score"] for row in one} == pytest.approx(ours.scores, abs=1e-5)
            assert [row["label"] for row in one] == list(ours.scores)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pipeline_for_words_finds_the_tags_that_maskling_finds(tmp_path: Path, family: str) -> None:
    folder = made(tmp_path, family, "tag")
    # Spaces before every word, since a byte-level vocabulary writes a word after none with other tokens.
    text = "the fox sees Paris , the lazy dog jumps over a souvenir !"
    pipe = transformers.pipeline("token-classification", model=str(folder), device="cpu", ignore_labels=[])
    first_pieces = {piece["start"]: piece for piece in reversed(pipe(text))}
    found = load(folder, device="cpu").predict(text)
    assert [word.text for word in found.words] == text.split()
    assert len({round(word.score, 3) for word in found.words}) > 5
    for word in found.words:
        # A byte-level vocabulary may have a piece for the space before a word, which then is its first.
        piece = first_pieces.get(word.start - 1) or first_pieces[word.start]
        assert (piece["entity"], piece["score"]) == (word.tag, pytest.approx(word.score, abs=1e-5))
        assert text[word.start : word.end] == word.text


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_the_best_places_by_the_logits_of_auto_model_for_question_answering(
    tmp_path: Path, family: str
) -> None:
    folder = made(tmp_path, family, "answer")
    question, context = "who sees Paris?", "The quick fox, so lazy, sees a dog of Paris."
    encoded, said = theirs(folder, "AutoModelForQuestionAnswering", question, context)
    where = encoded.encodings[0]
    context_tokens = [place for place, part in enumerate(where.sequence_ids) if part == 1]
    allowed = [0, *context_tokens]
    starts, ends = (logits[0, allowed].softmax(-1) for logits in (said.start_logits, said.end_logits))
    best = max(
        (float(starts[i] * ends[j]), allowed[i], allowed[j])
        for i in range(1, len(allowed))
        for j in range(i, min(len(allowed), i + 30))
    )
    found = load(folder, device="cpu").predict((question, context))
    assert found.score == pytest.approx(best[0], abs=1e-5)
    assert found.no_answer == pytest.approx(float(starts[0] * ends[0]), abs=1e-5)
    begin = where.offsets[best[1]][0]
    begin += context[begin] == " "  # byte-level tokens bring the space before them
    assert (found.start, found.end) == (begin, where.offsets[best[2]][1])
    assert found.text == context[found.start : found.end]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_folder_embeds_and_says_that_it_cannot_fill(tmp_path: Path, family: str) -> None:
    model = load(made(tmp_path, family, "classify"), device="cpu")
    assert model.embed(TEXTS).shape == (3, 24)
    with pytest.raises(ModelError, match="no masked-token head"):
        model.fill("the [MASK]")


def test_the_card_names_what_it_was_made_from_and_how_well_it_does(tmp_path: Path) -> None:
    folder = made(tmp_path, "bert", "tag")
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: token-classification" in card
    assert "`mine`" in card
    assert "/home/me" not in card
    assert "| accuracy | 0.8125 |" in card
    assert "`B-PER`" in card


@pytest.mark.parametrize("kind", LABELS)
def test_every_kind_has_a_card(tmp_path: Path, kind: HeadKind) -> None:
    card = (made(tmp_path, "modern", kind) / "README.md").read_text(encoding="utf-8")
    assert "{{" not in card
    assert "{%" not in card


def test_an_old_folder_stays_when_the_new_one_reads_back_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = made(tmp_path, "bert", "classify")
    before = json.loads((folder / "config.json").read_text())
    write = folder_module.write_task_weights

    def write_wrong(model: TaskModel, folder: Path) -> None:
        write(model, folder)
        tree = json.loads((folder / "config.json").read_text())
        tree["id2label"]["0"], tree["id2label"]["1"] = tree["id2label"]["1"], tree["id2label"]["0"]
        (folder / "config.json").write_text(json.dumps(tree))

    monkeypatch.setattr(folder_module, "write_task_weights", write_wrong)
    tokenizer = Tokenizer.load(tmp_path / "vocabulary" / "vocab.txt")
    with pytest.raises(ModelError, match="its labels differed"):
        export_task_model(task_model(tokenizer, "bert", "classify"), tokenizer, folder, TaskFacts())
    assert json.loads((folder / "config.json").read_text()) == before
    assert [path.name for path in tmp_path.iterdir() if "model" in path.name] == ["model"]


def test_a_model_whose_logits_are_not_numbers_is_not_exported(tmp_path: Path) -> None:
    tokenizer = wordpiece(tmp_path / "vocabulary")
    model = task_model(tokenizer, "bert", "answer")
    with torch.no_grad():
        model.head.classifier.bias[1] = torch.nan
    with pytest.raises(ModelError, match="answer logits of this model include NaN or infinity"):
        export_task_model(model, tokenizer, tmp_path / "model", TaskFacts())
    assert not (tmp_path / "model").exists()


def test_records_of_labelled_files_are_predicted_as_what_they_hold(tmp_path: Path) -> None:
    model = load(made(tmp_path, "bert", "classify"), device="cpu")
    assert model.predict([TextRecord("a:1", "the fox", "a dog", "bad")]) == model.predict([("the fox", "a dog")])
    answers = load(made(tmp_path / "other", "bert", "answer"), device="cpu")
    assert answers.predict(QuestionRecord("q", "who?", "a fox")) == answers.predict(("who?", "a fox"))
