"""Held-out records are drawn in groups and in the proportions of their labels."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.labelled.records import QuestionRecord, TaggedRecord, TextRecord
from maskling.errors import DataError
from maskling.finetuning.hold_out import split_held_out


def texts(labels: list[object]) -> list[TextRecord]:
    return [TextRecord(f"a:{number}", f"text {number}", None, label) for number, label in enumerate(labels)]  # type: ignore[arg-type]


def test_questions_of_one_context_stay_together() -> None:
    records = [QuestionRecord(f"q{number}", "?", f"context {number // 7}") for number in range(280)]
    train, dev = split_held_out(records, 0.1, 3, 10_000)
    assert {record.context for record in train}.isdisjoint(record.context for record in dev)
    assert len(dev) == 28
    assert [*train, *dev] != records
    assert sorted((*train, *dev), key=lambda record: int(record.id[1:])) == records


def test_equal_texts_and_equal_sentences_stay_together() -> None:
    records = [TextRecord(f"a:{number}", f"t  {number % 30}", "p", "x") for number in range(90)]
    train, dev = split_held_out(records, 0.1, 0, 10_000)
    assert {record.text for record in train}.isdisjoint(record.text for record in dev)
    tagged = [TaggedRecord(f"a:{number}", ("w", str(number % 20)), ("O", "O")) for number in range(60)]
    train_, dev_ = split_held_out(tagged, 0.2, 0, 10_000)
    assert {record.words for record in train_}.isdisjoint(record.words for record in dev_)
    assert len(dev_) == 12


def test_each_label_is_held_out_in_its_share() -> None:
    records = texts(["a"] * 600 + ["b"] * 300 + ["c"] * 100)
    _, dev = split_held_out(records, 0.1, 5, 10_000)
    assert Counter(record.label for record in dev) == {"a": 60, "b": 30, "c": 10}
    _, dev = split_held_out(records, 0.1, 5, 20)
    assert Counter(record.label for record in dev) == {"a": 12, "b": 6, "c": 2}


@given(
    labels=st.lists(
        st.sampled_from(["a", "b", "c", "d", "e", ("x", "y"), ("x",), ("z",), ()]), min_size=3, max_size=60
    ),
    seed=st.integers(0, 9),
    fraction=st.floats(0.01, 0.6),
)
def test_both_parts_have_records_and_every_label_of_dev_is_in_train(
    labels: list[object], seed: int, fraction: float
) -> None:
    train, dev = split_held_out(texts(labels), fraction, seed, 10_000)
    assert train
    assert dev
    assert len(train) + len(dev) == len(labels)
    counts = Counter(labels)
    if len(counts) <= len(labels) / 2 and not any(isinstance(label, tuple) for label in labels):
        assert {record.label for record in dev} <= {record.label for record in train}


def test_a_tag_of_one_sentence_stays_in_train() -> None:
    records = [TaggedRecord(f"a:{number}", (str(number),), (f"B-{number // 2}",)) for number in range(10)]
    for seed in range(9):
        train, dev = split_held_out(records, 0.3, seed, 10_000)
        assert {tag for record in dev for tag in record.tags or ()} <= {
            tag for record in train for tag in record.tags or ()
        }


def test_nothing_to_hold_out() -> None:
    with pytest.raises(DataError, match="1 record is too few"):
        split_held_out(texts(["a"]), 0.1, 0, 9)
    with pytest.raises(DataError, match="3 records of one context or text are too few"):
        split_held_out([QuestionRecord(str(number), "?", "c") for number in range(3)], 0.1, 0, 9)


def test_a_label_of_one_record_stays_in_train() -> None:
    records = texts([*(f"rare {number}" for number in range(30)), *("a", "b") * 10])
    for seed in range(5):
        train, dev = split_held_out(records, 0.2, seed, 10_000)
        assert {record.label for record in dev} <= {record.label for record in train} == {r.label for r in records}
    train, dev = split_held_out(texts([f"rare {number}" for number in range(30)]), 0.2, 0, 10_000)
    assert (len(train), len(dev)) == (24, 6)
