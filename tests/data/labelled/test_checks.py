"""What is likely wrong with a set is said, and a good set goes without a word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.labelled.checks import (
    check_questions,
    check_tagged,
    check_texts,
    edit_distance,
    imbalance,
    typos,
)
from maskling.data.labelled.reader import read_records
from maskling.data.labelled.records import Answer, QuestionRecord, TaggedRecord, TextRecord


def texts(counts, prefix="text"):
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [TextRecord(f"a:{number}", f"{prefix} {number}", None, label) for number, label in enumerate(labels, 1)]


def test_a_good_set_has_nothing_said_of_it():
    assert check_texts(texts({"a": 50, "b": 60}), {"dev": texts({"a": 3, "b": 4}, "other")}) == []
    assert check_texts(texts({0.5: 4, 1.0: 4}), {"dev": texts({0.7: 4}, "other")}) == []


@pytest.mark.parametrize(
    ("counts", "rare"),
    [
        ({"a": 100, "b": 9}, "'b' 9"),  # more than ten to one
        ({"a": 40, "b": 50, "c": 4}, "'c' 4"),  # under 5 %
        ({"a": 100, "b": 10}, None),
        ({str(number): 10 for number in range(70)}, None),  # each under 5 %, but none is rare among so many
    ],
)
def test_rare_classes_are_named_with_their_counts(counts, rare):
    said = imbalance(counts)
    assert (rare in said[0]) if rare else not said
    assert imbalance(counts, "look there") == [f"{line}; look there" for line in said]


@pytest.mark.parametrize(
    ("counts", "suspects"),
    [
        ({"positive": 50, "postive": 2}, ["postive"]),
        ({"positive": 50, "postive": 40}, []),  # too many for a slip
        ({"positive": 50, "Positive ": 40}, ["Positive "]),
        ({"not paraphrase": 50, "not_paraphrase": 50}, ["not"]),
        ({"LOC": 100, "ORG": 2, "PER": 3}, []),
        ({"LOC": 100, "LOCC": 2}, ["LOCC"]),
        ({"1": 100, "-1": 2, "10": 100, "100": 1}, []),
        ({"intent_0001": 100, "intent_0002": 2, "E11.8": 200, "E11.9": 3}, []),
        ({"entailment": 100, "neutral": 3, "contradiction": 2}, []),
    ],
)
def test_labels_that_look_misspelt_are_named(counts, suspects):
    said = typos(counts)
    assert len(said) == len(suspects)
    assert all(suspect in line for suspect, line in zip(suspects, said, strict=True))


def test_of_many_suspects_a_few_are_named_and_the_rest_counted():
    counts = {
        name: 1
        for word in ("positive", "negative", "neutral")
        for name in (word[:-1], word[1:], f"{word}s", f"x{word}")
    }
    said = typos({"positive": 500, "negative": 500, "neutral": 500} | counts)
    assert len(said) == 11
    assert said[-1] == "and 2 more labels may be misspelt like these"


def test_what_dev_has_and_train_lacks_or_has_already_is_said():
    train = texts({"a": 5, "b": 5})
    dev = [
        TextRecord("d:1", "text  3", None, "a"),
        TextRecord("d:2", "new", None, "c"),
        TextRecord("d:3", "x", "text 3"),
    ]
    said = check_texts(train, {"dev": dev, "test": dev[1:2]})
    assert [line for line in said if line.startswith("dev has labels that train lacks: 'c' (1)")]
    assert "1 of the 3 texts of dev are also in train; their scores are too high" in said
    assert not [line for line in said if "of test are also" in line]


def test_a_text_with_two_labels_and_an_empty_one_are_named():
    train = [*texts({"a": 5, "b": 5}), TextRecord("a:20", "text 1 ", None, "b"), TextRecord("a:21", " ", None, "b")]
    said = check_texts(train, {})
    assert "1 text occurs with different labels: a:1, a:20" in said
    assert "1 text is empty: a:21" in said


def test_minus_one_is_asked_about_where_the_others_count_from_0():
    (said,) = [line for line in check_texts(texts({"0": 50, "1": 50, "-1": 40}), {}) if "'-1'" in line]
    assert "train has the label '-1' 40 times, taken for a class" in said
    test = texts({"-1": 3}, "other")
    assert [
        line for line in check_texts(texts({"0": 5, "1": 5}), {"test": test}) if "test has the label '-1' 3" in line
    ]
    # Two classes may well be called -1 and 1.
    assert check_texts(texts({"1": 50, "-1": 50}), {"test": test}) == []


def sentence(number, *tags):
    return TaggedRecord(f"c:{number}", tuple(f"w{number}.{place}" for place in range(len(tags))), tags)


def test_faults_of_tags_are_said():
    good = [sentence(number, "B-LOC", "I-LOC", "O", "B-PER") for number in range(20)]
    assert check_tagged(good, {"dev": [sentence(99, "B-PER", "O")]}) == []
    bad = [*good, sentence(30, "O", "I-LOC"), sentence(31, "B-PER", "I-LOC"), sentence(32, "B-LCO", "O")]
    said = check_tagged(bad, {"dev": [good[0], sentence(99, "B-ORG", "I-ORG")]})
    assert "train has 2 I- tags that follow no tag of their type: c:30, c:31" in said
    assert [line for line in said if "dev has tags that train lacks: 'B-ORG' (1), 'I-ORG' (1)" in line]
    assert "1 of the 2 sentences of dev are also in train; their scores are too high" in said
    # Of tags neither macro-F1 nor anything like it is reported.
    assert "classes are unbalanced: 'LCO' 1 against 'LOC' 22 of 44" in said


@pytest.mark.parametrize(
    ("odd", "named"),
    [
        (["0"], "'0' 1, in the sentences at c:99"),
        (["0"] * 500, "'0' 500"),  # one kind of tag: zeros for all O
        (["X", "LOC"], "'LOC' 1, 'X' 1"),
        (["NOUN", "VERB"] * 30, None),  # not BIO at all
    ],
)
def test_the_tag_that_turns_entities_off_is_named(odd, named):
    good = [sentence(number, "B-LOC", "I-LOC", "O", "B-PER") for number in range(60)]
    said = [line for line in check_tagged([*good, sentence(99, "O", *odd)], {}) if "all tags are BIO except" in line]
    assert (named in said[0] and "not F1 of entities" in said[0]) if named else not said


def test_tags_that_mark_no_entities_are_not_called_strays():
    assert not [line for line in check_tagged([sentence(1, "NOUN", "VERB", "O")] * 9, {}) if "BIO" in line]


def test_a_file_in_iob1_is_called_that_and_not_full_of_faults():
    said = check_tagged([sentence(number, "I-LOC", "I-LOC", "O", "I-PER") for number in range(9)], {})
    assert len(said) == 1
    assert "IOB1" in said[0]


def test_questions_without_answers_and_shared_contexts_are_said():
    train = [
        QuestionRecord("q1", "?", "c", (Answer("c", 0),)),
        QuestionRecord("q2", "?", "d"),
        QuestionRecord("q3", "?", "d", (), True),
    ]
    said = check_questions(train, {"dev": train[:1]})
    assert "1 question has no answer and is not marked impossible: q2" in said
    assert "1 of the 1 contexts of dev are also in train; their scores are too high" in said


@given(one=st.text("abc", max_size=7), other=st.text("abc", max_size=7))
def test_edit_distance_is_the_shortest_way(one, other):
    def slow(left, right):
        if not left or not right:
            return len(left) + len(right)
        if left[0] == right[0]:
            return slow(left[1:], right[1:])
        return 1 + min(slow(left[1:], right), slow(left, right[1:]), slow(left[1:], right[1:]))

    assert edit_distance(one[:5], other[:5]) == slow(one[:5], other[:5])


def test_the_known_flaws_of_real_sets_are_found(shared_data):
    tasks = shared_data / "tasks"
    sets = {
        name: read_records(str(tasks / "chnsenticorp" / f"{name}.jsonl.gz"), "classify").records
        for name in ("train", "test")
    }
    said = check_texts(sets.pop("train"), sets)
    assert "331 of the 1,200 texts of test are also in train; their scores are too high" in said
    dev = read_records(str(tasks / "peopledaily_ner" / "dev.conll"), "tag").records
    assert [line for line in check_tagged(dev, {}) if "11 I- tags that follow no tag of their type" in line]
    assert len(read_records(str(tasks / "wnut17" / "train.conll"), "tag").records) == 3394
    questions = read_records(str(tasks / "xquad_zh" / "dev.json"), "answer")
    assert (len(questions.records), questions.warnings) == (145, [])
