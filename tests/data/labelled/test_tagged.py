"""Tagged words are read from columns and JSON Lines."""

from __future__ import annotations

import json
import re

import pytest

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.reader import RecordFile, RecordReader, read_records
from maskling.data.labelled.records import TaggedRecord, TextRecord
from maskling.errors import DataError


def read_tagged(path: str, columns: Columns | None = None, *, labelled: bool = False) -> RecordFile:
    return read_records(path, "tag", columns, labels="required" if labelled else "optional")


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


EXPECTED = [(("Jim", "ran"), ("B-PER", "O")), (("to", "Rome", "."), ("O", "B-LOC", "O"))]


def parts(records):
    return [(record.words, record.tags) for record in records]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.conll", "Jim\tB-PER\nran\tO\n\nto\tO\nRome\tB-LOC\n.\tO\n"),
        ("a.txt", "-DOCSTART- -X- O O\n\nJim NNP I-NP B-PER\nran VBD I-VP O\n\n\nto TO I O\nRome NNP I B-LOC\n. . O O"),
        ("a.bio", "# id 7 domain=x\nJim _ _ B-PER\nran _ _ O\n\n# id 8 domain=y\nto _ _ O\nRome _ _ B-LOC\n. _ _ O\n"),
        ("a.conll", "# a comment\nJim\tB-PER\t\nran\tO\t\n  \nto\tO\t\nRome\tB-LOC\t\n.\tO\t\n"),
        (
            "a.jsonl",
            "".join(json.dumps({"id": 1, "tokens": words, "ner_tags": tags}) + "\n" for words, tags in EXPECTED),
        ),
        ("a.jsonl", "".join(json.dumps({"words": words, "tags": tags}) + "\n" for words, tags in EXPECTED)),
    ],
)
def test_the_same_sentences_from_every_layout(tmp_path, name, text):
    assert parts(read_tagged(written(tmp_path, name, text)).records) == EXPECTED


def test_words_that_begin_with_a_hash_are_words(tmp_path):
    path = written(tmp_path, "a.conll", "#photography\tO\n#\tO\n#1\tB-X\n\n# \tO\na\tO\n")
    assert parts(read_tagged(path).records) == [
        (("#photography", "#", "#1"), ("O", "O", "B-X")),
        (("#", "a"), ("O", "O")),
    ]
    path = written(tmp_path, "b.conll", "a O\n# O\n#x B-Y\n")
    assert parts(read_tagged(path).records) == [(("a", "#", "#x"), ("O", "O", "B-Y"))]


def test_conllu_gives_words_and_their_universal_parts_of_speech(tmp_path):
    text = (
        "# sent_id = 1\n# text = Don't go\n1-2\tDon't\t_\t_\t_\n1\tDo\tdo\tAUX\tVB\n2\tn't\tnot\tPART\tRB\n"
        "2.1\tx\t_\tX\t_\n3\tgo\tgo\tVERB\tVB\n\n"
    )
    path = written(tmp_path, "a.conllu", text)
    assert parts(read_tagged(path).records) == [(("Do", "n't", "go"), ("AUX", "PART", "VERB"))]
    assert parts(read_tagged(path, Columns(label="4")).records) == [(("Do", "n't", "go"), ("VB", "RB", "VB"))]


def test_columns_go_by_number(tmp_path):
    path = written(tmp_path, "a.conll", "B-PER x Jim\nO y ran\n")
    (record,) = read_tagged(path, Columns(text="2", label="0")).records
    assert record == TaggedRecord("a.conll:1", ("Jim", "ran"), ("B-PER", "O"))


def test_one_column_are_words_to_predict_on(tmp_path):
    assert parts(read_tagged(written(tmp_path, "a.conll", "Jim\nran\n\nto\n")).records) == [
        (("Jim", "ran"), None),
        (("to",), None),
    ]
    assert parts(read_tagged(written(tmp_path, "a.jsonl", '{"words": ["a"]}\n')).records) == [(("a",), None)]


def test_tags_by_number_keep_their_numbers(tmp_path):
    (record,) = read_tagged(written(tmp_path, "a.jsonl", '{"tokens": ["a", "b"], "ner_tags": [0, 3]}\n')).records
    assert record.tags == ("0", "3")


@pytest.mark.parametrize(
    ("name", "text", "columns", "said"),
    [
        ("a.conll", "a\tO\nb\n", {}, "a.conll:2 has 1 columns, and the lines before it have 2"),
        ("a.conll", "a O\nNew York B-LOC\n", {}, "a.conll:2 has 3 columns"),
        ("a.conll", "\n\n", {}, "a.conll has no records"),
        ("a.csv", "Word,Tag\na,O\n", {}, "a.csv:1 has one word per row and no column with a name known for the number"),
        ("a.conll", "a O\n", {"label": "2"}, "a.conll:1 has no column 2"),
        ("a.conll", "a O\n", {"label": "ner"}, "give an index"),
        ("a.jsonl", '{"words": ["a", "b"], "tags": ["O"]}\n', {}, "a.jsonl:1 has 2 words and 1 tags"),
        ("a.jsonl", '{"words": "a b", "tags": ["O"]}\n', {}, "a.jsonl:1 has no list of words in 'words'"),
        ("a.jsonl", '{"words": ["a"], "tags": "O"}\n', {}, "a.jsonl:1 has no list of tags in 'tags'"),
        ("a.jsonl", '{"text": "a"}\n', {}, "no field with a name known for words"),
        ("a.jsonl", '{"words": ["a"], "tgs": ["O"]}\n', {"label": "tags"}, "no field 'tags'; did you mean 'tgs'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, text, columns, said):
    with pytest.raises(DataError) as raised:
        read_tagged(written(tmp_path, name, text), Columns(**columns))
    assert said in str(raised.value)


def test_bad_lines_can_be_left_out(tmp_path):
    # Without the word the sentence would be another one, and an entity might lose its beginning.
    text = "a O\nb\nc\nd O\n\nd O\n"
    found = read_tagged(written(tmp_path, "a.conll", text), Columns(on_bad_row="skip"))
    assert parts(found.records) == [(("d",), ("O",))]
    assert "1 sentences left out" in found.warnings[0]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.jsonl",
            '{"words": ["a"]}\n{"words": ["b"], "tags": ["O"]}\n',
            "a.jsonl:1 has no column .* for tags, but 'w",
        ),
        ("a.jsonl", '{"words": ["b"], "tags": ["O"]}\n{"words": ["a"], "tags": null}\n', "2 has words without tags"),
    ],
)
def test_sentences_without_tags_are_bad_where_tags_are_needed(tmp_path, name, text, said):
    path = written(tmp_path, name, text)
    assert len(read_tagged(path).records) == 2
    with pytest.raises(DataError, match=f"{said}.*; correct it, or leave such rows out"):
        read_tagged(path, labelled=True)
    found = read_tagged(path, Columns(on_bad_row="skip"), labelled=True)
    assert parts(found.records) == [(("b",), ("O",))]
    assert re.search(said, found.warnings[0])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "token\ttag\nJim\tB-PER\nran\tO\n"),
        ("a.conll", "# a comment\nWord POS Chunk NER\n\nJim NNP I-NP B-PER\nran VBD I-VP O\n"),
    ],
)
def test_a_header_is_left_out_and_said(tmp_path, name, text):
    found = read_tagged(written(tmp_path, name, text))
    assert parts(found.records) == EXPECTED[:1]
    assert len(found.warnings) == 1
    assert f"{name}:{1 + text.startswith('#')} is taken for a header" in found.warnings[0]


@pytest.mark.parametrize(
    "text", ["token\tO\nJim\tB-PER\n", "Jim\tB-PER\nlabel\ttag\n", "word\ntag\n", "The tag\nword tag\n"]
)
def test_what_is_no_header_is_kept(tmp_path, text):
    found = read_tagged(written(tmp_path, "a.conll", text))
    assert [word for record in found.records for word in record.words] == [
        line.split()[0] for line in text.splitlines()
    ]
    assert found.warnings == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # GermEval: a comment has another number of columns than words.
        ("#\thttp://x [2009]\n1\tJim\tB-PER\n2\tran\tO\n", (("Jim", "ran"), ("B-PER", "O"))),
        # The same number: its tag is none that a word has.
        ("#\thttp://x [2009]\nJim\tB-PER\nran\tO\n", (("Jim", "ran"), ("B-PER", "O"))),
        ("#\tthe first\n#\tthe second\nJim\tB-PER\n#\tO\nran\tO\n", (("Jim", "#", "ran"), ("B-PER", "O", "O"))),
        # Only spaces and tabs separate columns, and words may hold any other white space.
        ("Jim B-PER\n10\u00a0000 O\n\u3000 O\n", (("Jim", "10\u00a0000", "\u3000"), ("B-PER", "O", "O"))),
        ("Jim \t B-PER\nran  O\n", (("Jim", "ran"), ("B-PER", "O"))),
        ("a\u2003b\tB-PER\n\u00a0\tO\n", (("a\u2003b", "\u00a0"), ("B-PER", "O"))),
    ],
)
def test_comments_and_odd_spaces_are_neither_words_nor_columns(tmp_path, text, expected):
    if "\t \t" in text or " \t " in text:
        text = text.replace(" \t ", " ")
    (record,) = read_tagged(written(tmp_path, "a.conll", text)).records
    assert (record.words, record.tags) == expected


def test_document_marks_end_sentences(tmp_path):
    text = "-DOCSTART- -X- O\n\na x O\n-DOCSTART- O\nb y B-X\n\n-DOCSTART- -X- -X- O\n"
    found = read_tagged(written(tmp_path, "a.conll", text)).records
    assert parts(found) == [(("a",), ("O",)), (("b",), ("B-X",))]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-DOCSTART- -X- O O\n\nEU NNP B-NP I-ORG\nrejects VBZ B-VP O\n", ("EU", "rejects")),
        ("EU\tX\nrejects\tO\n\na\tO\n", ("EU", "rejects")),  # X is a tag of the model
        ("# a comment\nEU B-ORG\nrejects O\n", ("EU", "rejects")),
    ],
)
def test_a_txt_with_columns_of_tags_is_read_for_prediction_as_for_training(tmp_path, text, words):
    path = written(tmp_path, "test.txt", text)
    groups = list(RecordReader(path, "tag", known=("O", "I-ORG", "X")))
    assert groups[0][0].words == words
    assert [record.words for record in read_tagged(path).records] == [record.words for record in groups[0]]


@pytest.mark.parametrize(
    "text", ["The fox sees\nParis today\n", "one word\ntwo words\n", "alone\n", "to O\nby train\n"]
)
def test_a_txt_of_texts_is_texts(tmp_path, text):
    ((first, *_),) = RecordReader(written(tmp_path, "test.txt", text), "tag", known=("O", "B-X"))
    assert first == TextRecord("test.txt:1", text.splitlines()[0])


GERMEVAL = "#\thttp://x [2009]\n1\tSchartau\tB-PER\tO\n2\tsagte\tO\tO\n\n1\tPeter\tB-PER\tB-LOC\n2\tBree\tI-PER\tO\n\n"


def test_a_column_that_numbers_the_words_is_no_column_of_words(tmp_path):
    path = written(tmp_path, "g.tsv", GERMEVAL)
    found = read_records(path, "tag", Columns(label="2"))
    assert parts(found.records) == [
        (("Schartau", "sagte"), ("B-PER", "O")),
        (("Peter", "Bree"), ("B-PER", "I-PER")),
    ]
    assert "the first column numbers the words" in found.warnings[0]
    assert [record.tags for record in read_records(path, "tag").records] == [("O", "O"), ("B-LOC", "O")]
    assert [record.words for record in read_records(path, "tag", Columns(text="0")).records] == [("1", "2")] * 2
    # Numbers may be words.
    numbers = written(tmp_path, "n.tsv", "1\tCD\tB-X\n3\tCD\tO\n\n")
    assert parts(read_records(numbers, "tag").records) == [(("1", "3"), ("B-X", "O"))]


def test_webanno_is_named(tmp_path):
    text = "#FORMAT=WebAnno TSV 3.3\n#T_SP=x|value\n\n\n#Text=EU is\n1-1\t0-2\tEU\tORG\t\n1-2\t3-5\tis\t_\t\n\n"
    path = written(tmp_path, "w.tsv", text)
    with pytest.raises(DataError, match="WebAnno's TSV"):
        read_records(path, "tag")
    found = read_records(path, "tag", Columns(text="2", label="3")).records
    assert parts(found) == [(("EU", "is"), ("ORG", "_"))]
