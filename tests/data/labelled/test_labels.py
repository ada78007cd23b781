"""Labels are discovered, ordered and numbered; what has none, or another, is named."""

from __future__ import annotations

import numpy as np
import pytest

from maskling.data.labelled.records import LabelSet, TaggedRecord, TextRecord
from maskling.errors import DataError


def texts(*labels):
    return [TextRecord(f"a.jsonl:{number}", "text", None, label) for number, label in enumerate(labels, 1)]


def test_names_are_sorted_and_numbers_in_their_own_order():
    assert LabelSet.of_texts(texts("b", "a", "b")).names == ("a", "b")
    assert LabelSet.of_texts(texts("10", "9", "-1", "2.5")).names == ("-1", "2.5", "9", "10")
    assert LabelSet.of_texts(texts("b", "2", "10", "nan")).names == ("2", "10", "b", "nan")


def test_labels_of_several_sets_are_one_set():
    labels = LabelSet.of_texts(texts("b", "a"), texts("c"))
    assert labels.names == ("a", "b", "c")
    assert labels.indices(texts("c", "a")).tolist() == [2, 0]
    assert len(labels) == 3


def test_several_labels_are_zeros_and_ones():
    records = texts(("b", "a"), (), ("c",))
    found = LabelSet.of_texts(records).multi_hot(records)
    assert found.dtype == np.float32
    assert found.tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 1]]


def test_tags_of_all_words_end_to_end():
    records = [TaggedRecord("a:1", ("x", "y"), ("O", "B-P")), TaggedRecord("a:4", ("z",), ("O",))]
    labels = LabelSet.of_tags(records)
    assert labels.names == ("B-P", "O")
    assert labels.tag_indices(records).tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        (texts("a", None), "a.jsonl:2 has no label"),
        (texts("a", 2.5), "a.jsonl:2 has the number 2.5"),
        (texts("a", "a"), "all labels are 'a'"),
        (texts(), "there are no labels"),
    ],
)
def test_labels_that_cannot_be_learned_are_refused(records, said):
    with pytest.raises(DataError, match=said):
        LabelSet.of_texts(records)


def test_a_set_without_a_known_label_is_refused():
    labels = LabelSet(("negative", "positive"))
    labels.check_shared(["x", "positive"], "dev.csv")
    labels.check_shared([], "dev.csv")
    with pytest.raises(
        DataError, match=r"dev.csv shares no label .* it has 1, 0, and train negative, positive; use the same"
    ):
        labels.check_shared(["1", "0", "1"], "dev.csv")


def test_an_unknown_label_is_named_with_its_place_and_the_nearest_there_is():
    labels = LabelSet(("negative", "positive"))
    with pytest.raises(DataError, match=r"a.jsonl:1 has the label 'postive'; did you mean 'positive'"):
        labels.indices(texts("postive"))
    with pytest.raises(DataError, match=r"a.jsonl:1 has the label 'x'; the labels are negative, positive"):
        labels.multi_hot(texts(("x",)))
    with pytest.raises(DataError, match=r"a.jsonl:2 has a list of labels, but this task takes one"):
        labels.indices(texts("negative", ("positive",)))
    with pytest.raises(DataError, match=r"b:1 has words without tags"):
        labels.tag_indices([TaggedRecord("b:1", ("x",))])
