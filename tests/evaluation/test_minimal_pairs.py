"""Minimal pairs: read as they come, ties are half a point, and averages are over paradigms."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from maskling.errors import DataError
from maskling.evaluation.minimal_pairs import MinimalPair, compare_scores, evaluate_pairs, read_pairs
from maskling.infer.model import Model
from maskling.model.device import pick_device
from small_models import bert, wordpiece


def pairs_of(*counts: tuple[str, str, int]) -> list[MinimalPair]:
    return [MinimalPair(f"good {n}", f"bad {n}", name, field) for name, field, count in counts for n in range(count)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    tokenizer = wordpiece(tmp_path_factory.mktemp("wordpiece"))
    return Model(bert(tokenizer), tokenizer, pick_device("cpu", "fp32"), 40)


def test_a_constant_scorer_is_at_chance():
    pairs = pairs_of(("one", "syntax", 7), ("two", "", 3))
    results = compare_scores(pairs, np.full(10, -3.7), np.full(10, -3.7))
    assert results.macro_average == 0.5
    assert [paradigm.accuracy for paradigm in results.paradigms] == [0.5, 0.5]
    assert results.ties == results.pairs == 10


def test_a_model_that_finds_every_token_equally_likely_is_at_chance(model: Model):
    flat = bert(model.tokenizer)
    with torch.no_grad():
        flat.word.weight.zero_()
    pairs = [
        MinimalPair("the dog sees a fox", "the dog sees a gift", "one"),
        MinimalPair("a souvenir", "souvenir a", "one"),
        MinimalPair("the fox jumps over the dog in paris .", "the fox jumps over the dog in paris !", "two"),
        MinimalPair("the dog", "a dog", "two"),
    ]
    results = evaluate_pairs(Model(flat, model.tokenizer, model.compute, 40), pairs)
    assert results.macro_average == 0.5
    assert results.ties == 4


def test_averages_are_over_paradigms_not_over_pairs():
    pairs = pairs_of(("one", "syntax", 4), ("two", "syntax", 1), ("three", "morphology", 2))
    good = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0, 1.0])
    bad = np.array([0.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0])
    results = compare_scores(pairs, good, bad)
    assert [(one.name, one.accuracy, one.ties) for one in results.paradigms] == [
        ("one", 0.75, 0),
        ("two", 0.0, 0),
        ("three", 0.75, 1),
    ]
    assert [(one.name, one.paradigms, one.pairs, one.accuracy) for one in results.fields] == [
        ("morphology", 1, 2, 0.75),
        ("syntax", 2, 5, 0.375),
    ]
    assert results.macro_average == pytest.approx(0.5)
    assert json.loads(json.dumps(results.as_dict()))["macro_average"] == results.macro_average


def test_the_likelier_sentence_of_a_pair_wins_whichever_stands_first(model: Model):
    sentences = ["the fox sees a dog", "a souvenir of paris", "the the in", "dog", "quick, quick brown fox!"]
    totals = [model.score(sentence).total for sentence in sentences]
    pairs = [MinimalPair(good, bad, "all") for good in sentences for bad in sentences]
    points = [1.0 if a > b else 0.0 if a < b else 0.5 for a in totals for b in totals]
    shares: list[float] = []
    results = evaluate_pairs(model, pairs, batch_tokens=50, on_progress=lambda done, total: shares.append(done / total))
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert results.paradigms[0].accuracy == pytest.approx(np.mean(points))
    assert results.ties == len(sentences)


def test_blimp_s_files_are_read_as_they_are(tmp_path: Path):
    lines = [
        {"sentence_good": "A b.", "sentence_bad": "A c.", "UID": "npi", "field": "syntax/semantics", "pairID": "0"},
        {"sentence_good": "D b.", "sentence_bad": "D c.", "UID": "npi", "field": "syntax_semantics"},
    ]
    with gzip.open(tmp_path / "npi.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "README.md").write_text("# Not pairs\n")
    (tmp_path / "own.tsv").write_text("it is\tit are\n\nwe are\twe is\r\n")
    expected = [MinimalPair(f"{x} b.", f"{x} c.", "npi", "syntax_semantics") for x in "AD"]
    own = [MinimalPair("it is", "it are", "own"), MinimalPair("we are", "we is", "own")]
    assert read_pairs([str(tmp_path)]) == [*expected, *own]
    assert read_pairs([str(tmp_path / "own.tsv")]) == own


def test_columns_may_have_names(tmp_path: Path):
    path = tmp_path / "named.csv"
    path.write_text('UID,bad,good,field\na,"x, z",y,f\n')
    assert read_pairs([str(path)]) == [MinimalPair("y", "x, z", "a", "f")]
    path.write_text('"one, two",three\n')
    assert read_pairs([str(path)]) == [MinimalPair("one, two", "three", "named")]


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.jsonl", '{"sentence_good": "x"}\n', "line 1: the bad sentence is empty or missing"),
        ("a.jsonl", '{"sentence_good": "x", "sentence_bad": "y"}\n{"x"\n', "line 2 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not a JSON object"),
        ("a.tsv", "x\ty\nonly one\n", "line 2 has 1 column where 2 are expected; put a tab"),
        ("a.csv", "x,y,z\n", "line 1 has 3 columns where 2 are expected; put a comma"),
        ("a.tsv", "x\t \n", "line 1: the bad sentence is empty"),
        ("a.tsv", "\n\n", "holds no pairs"),
        ("a.tsv", "\udcff", "is not UTF-8"),
        ("a.jsonl.gz", "no gzip", "cannot be read"),
    ],
)
def test_what_is_no_pair_is_named_by_file_and_line(name: str, text: str, complaint: str, tmp_path: Path):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=complaint) as said:
        read_pairs([str(tmp_path / name)])
    assert name in str(said.value)


def test_a_folder_without_pairs_is_said(tmp_path: Path):
    (tmp_path / "README.md").write_text("# Nothing\n")
    with pytest.raises(DataError, match="no file of pairs here"):
        read_pairs([str(tmp_path)])


@pytest.mark.slow
def test_blimp_has_sixty_seven_paradigms_in_four_fields(shared_data: Path):
    pairs = read_pairs([str(shared_data / "blimp")])
    results = compare_scores(pairs, np.zeros(len(pairs)), np.zeros(len(pairs)))
    assert len(results.paradigms) == 67
    assert {paradigm.pairs for paradigm in results.paradigms} == {1000}
    assert [field.name for field in results.fields] == ["morphology", "semantics", "syntax", "syntax_semantics"]
    assert results.macro_average == 0.5
