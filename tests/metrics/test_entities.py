"""Entities are found and counted as seqeval does."""

from __future__ import annotations

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval import metrics as seqeval
from seqeval.metrics.sequence_labeling import get_entities

from maskling.metrics.entities import EntitySpan, entities, entity_scores, marks_entities, token_accuracy

tags = st.sampled_from(["O", "O", *(f"{mark}-{kind}" for mark in "BIES" for kind in ("PER", "MISC-2", "X"))])
sentences = st.lists(st.lists(st.tuples(tags, tags), max_size=9), min_size=1, max_size=6)


@given(tags=st.lists(tags, max_size=12))
def test_entities_of_any_tags_are_those_of_seqeval(tags):
    expected = [(kind, first, last + 1) for kind, first, last in get_entities(list(tags))]
    assert [(found.type, found.first, found.last) for found in entities(tags)] == expected


@given(sentences=sentences)
def test_scores_are_those_of_seqeval(sentences):
    truth, guess = ([[both[side] for both in sentence] for sentence in sentences] for side in (0, 1))
    scores = entity_scores(truth, guess)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of types that were never found
        overall = [
            score(truth, guess, zero_division=0)
            for score in (seqeval.precision_score, seqeval.recall_score, seqeval.f1_score)
        ]
        report = seqeval.classification_report(truth, guess, zero_division=0, output_dict=True) if any(truth) else {}
    assert [scores.overall.precision, scores.overall.recall, scores.overall.f1] == pytest.approx(overall)
    for kind, score in scores.per_type.items():
        assert score.f1 == pytest.approx(report[kind]["f1-score"])
        assert score.support == report[kind]["support"]
    if sum(map(len, truth)):
        assert token_accuracy(truth, guess) == pytest.approx(seqeval.accuracy_score(truth, guess))


def test_an_i_after_nothing_or_another_type_begins_an_entity():
    assert entities(["O", "I-PER", "I-PER", "I-LOC", "B-LOC", "O", "I-LOC"]) == [
        EntitySpan("PER", 1, 3),
        EntitySpan("LOC", 3, 4),
        EntitySpan("LOC", 4, 5),
        EntitySpan("LOC", 6, 7),
    ]


def test_bilou_is_read_as_bioes_is():
    assert entities(["U-PER", "U-PER", "B-LOC", "L-LOC", "L-LOC"]) == entities(
        ["S-PER", "S-PER", "B-LOC", "E-LOC", "E-LOC"]
    )
    assert len(entities(["U-PER", "U-PER"])) == 2


def test_an_entity_with_one_end_wrong_counts_against_both_sides():
    scores = entity_scores([["B-PER", "I-PER", "O", "B-LOC"]], [["B-PER", "O", "O", "B-LOC"]])
    assert (scores.overall.precision, scores.overall.recall, scores.overall.f1) == (0.5, 0.5, 0.5)
    assert {kind: score.f1 for kind, score in scores.per_type.items()} == {"LOC": 1.0, "PER": 0.0}


def test_nothing_to_find_and_nothing_found():
    scores = entity_scores([["O", "O"], []], [["O", "O"], []])
    assert (scores.overall.f1, scores.overall.support, scores.per_type) == (0.0, 0, {})
    assert math.isnan(token_accuracy([], []))


@pytest.mark.parametrize(
    ("tags", "marked"),
    [
        (["O", "B-PER", "I-PER"], True),
        (["U-X", "O"], True),
        (["O"], False),
        (["NOUN", "O"], False),
        (["B-", "O"], False),
        ([], False),
    ],
)
def test_tags_that_mark_entities_are_told_from_others(tags, marked):
    assert marks_entities(tags) is marked


def test_bmes_and_marks_at_the_end_or_with_underscores_are_read_as_bio():
    written = {
        "B-X": ["O", "B-PER", "I-PER", "I-PER", "O", "B-X-1"],
        "M": ["O", "B-PER", "M-PER", "E-PER", "O", "S-X-1"],
        "B_X": ["O", "B_PER", "I_PER", "I_PER", "O", "B_X-1"],
        "X-B": ["O", "PER-B", "PER-I", "PER-I", "O", "X-1-B"],
        "X_B": ["O", "PER_B", "PER_I", "PER_I", "O", "X-1_B"],
    }
    for tags in written.values():
        assert marks_entities(tags)
        assert entities(tags) == [EntitySpan("PER", 1, 4), EntitySpan("X-1", 5, 6)]
    expected = [(kind, first, last + 1) for kind, first, last in get_entities(written["X-B"], suffix=True)]
    assert expected == [(found.type, found.first, found.last) for found in entities(written["X-B"])]
    assert not marks_entities(["NN", "VB-X"])
