"""Entities as character spans become tags of words, whichever tool wrote them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.encode_tags import words_in
from maskling.data.labelled.read_spans import SpanParser
from maskling.data.labelled.reader import RecordFile, RecordReader, read_records
from maskling.data.labelled.tables import OpenFile
from maskling.errors import DataError
from maskling.metrics.entities import entities

TEXT = "EU rejects German call."
WORDS, TAGS = ("EU", "rejects", "German", "call", "."), ("B-ORG", "O", "B-MISC", "I-MISC", "O")


def read(folder: Path, rows: list[Any], name: str = "a.jsonl", **columns: str) -> RecordFile:
    whole = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
    (folder / name).write_text(whole, encoding="utf-8")
    return read_records(str(folder / name), "tag", Columns(**columns))


def studio(*values: dict[str, Any], text: str = TEXT) -> dict[str, Any]:
    result = [{"value": value, "type": "labels"} for value in values]
    return {"id": 1, "data": {"text": text}, "annotations": [{"result": [*result, {"type": "relation"}]}]}


FORMS = {
    "doccano": {"id": 1, "text": TEXT, "label": [[0, 2, "ORG"], [11, 22, "MISC"]]},
    "doccano with relations": {
        "text": TEXT,
        "entities": [
            {"id": 1, "label": "ORG", "start_offset": 0, "end_offset": 2},
            {"id": 2, "label": "MISC", "start_offset": 11, "end_offset": 22},
        ],
        "relations": [],
    },
    "Prodigy": {
        "text": TEXT,
        "tokens": [{"text": "EU", "start": 0, "end": 2, "id": 0}],
        "spans": [
            {"start": 0, "end": 2, "token_start": 0, "label": "ORG"},
            {"start": 11, "end": 22, "token_start": 2, "label": "MISC"},
        ],
        "answer": "accept",
    },
    "Label Studio": studio(
        {"start": 0, "end": 2, "text": "EU", "labels": ["ORG"]},
        {"start": 11, "end": 22, "text": "German call", "labels": ["MISC"]},
    ),
    "Label Studio, short": {
        "text": TEXT,
        "label": [{"start": 0, "end": 2, "labels": ["ORG"]}, {"start": 11, "end": 22, "labels": ["MISC"]}],
    },
    "spaCy": [TEXT, {"entities": [[0, 2, "ORG"], [11, 22, "MISC"]]}],
    "CLUENER": {"text": TEXT, "label": {"ORG": {"EU": [[0, 1]]}, "MISC": {"German call": [[11, 21]]}}},
    "what predict writes": {
        "text": TEXT,
        "words": [{"text": "EU", "tag": "B-ORG", "score": 1.0, "start": 0, "end": 2}],
        "entities": [
            {"text": "EU", "type": "ORG", "score": 1.0, "start": 0, "end": 2},
            {"text": "German call", "type": "MISC", "score": 1.0, "start": 11, "end": 22},
        ],
    },
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_spans_of_every_tool_are_the_same_tags(tmp_path: Path, form: str, name: str) -> None:
    found = read(tmp_path, [FORMS[form]], name)
    (record,) = found.records
    assert (record.id, record.words, record.tags) == (f"{name}:1", WORDS, TAGS)
    assert found.warnings == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_rows_of_spacy_are_lists_on_lines_or_in_a_list(tmp_path: Path, name: str) -> None:
    rows = [FORMS["spaCy"], ["No names.", {"entities": []}], FORMS["spaCy"]]
    assert [record.tags for record in read(tmp_path, rows, name).records] == [TAGS, ("O", "O", "O"), TAGS]


def test_texts_without_entities_and_fields_by_name(tmp_path: Path) -> None:
    rows = [{"t": "a b", "s": []}, {"t": "a b", "s": [[2, 3, "X"]]}, {"t": "c", "s": []}]
    found = read(tmp_path, rows, text="t", label="s")
    assert [record.tags for record in found.records] == [("O", "O"), ("O", "B-X"), ("O",)]


def test_offsets_in_utf16_units_are_recognised(tmp_path: Path) -> None:
    text = "\U0001f600\U0001f600 Rome and Paris"
    plain = [[3, 7, "LOC"], [12, 17, "LOC"]]
    wide = [[5, 9, "LOC"], [14, 19, "LOC"]]
    for spans in (plain, wide):
        (record,) = read(tmp_path, [{"text": text, "label": spans}]).records
        tagged = dict(zip(record.words, record.tags, strict=True))
        assert (tagged["Rome"], tagged["and"], tagged["Paris"]) == ("B-LOC", "O", "B-LOC")
    warnings = read(tmp_path, [{"text": text, "label": wide}]).warnings
    assert "1 text has offsets in UTF-16 units (a.jsonl:1)" in warnings[0]
    (record,) = read(tmp_path, [studio({"start": 5, "end": 9, "text": "Rome", "labels": ["LOC"]}, text=text)]).records
    assert dict(zip(record.words, record.tags, strict=True))["Rome"] == "B-LOC"


def test_spans_that_cut_words_and_spans_that_overlap_are_counted(tmp_path: Path) -> None:
    spans = [[0, 1, "A"], [2, 9, "B"], [5, 9, "C"], [9, 10, "D"], [8, 11, "E"]]
    found = read(tmp_path, [{"text": "abc defgh ijk", "label": spans}])
    (record,) = found.records
    assert record.tags == ("B-B", "I-B", "O")
    said = "\n".join(found.warnings)
    assert "1 span ends within a word" in said
    assert "3 spans overlap a longer one and are left out" in said
    assert "1 span holds no word" in said


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    good = {"text": "a b", "label": [[0, 1, "X"]]}
    for label, said in (
        ([[0, 9, "X"]], "a span from 0 to 9, but its text has 3 characters"),
        ([[0, "X"]], "where a span .* is expected"),
        ([{"start": 0, "label": "X"}], "start, end and label are needed"),
        ([{"start": 0, "end": 1, "text": "zzz", "label": "X"}], "a span 'zzz' from 0 to 1, but 'a' is there"),
        ([{"start": "/p[1]", "end": 1, "label": "X"}], "for the offset of a span"),
    ):
        with pytest.raises(DataError, match=rf"a\.jsonl:2 has .*{said}"):
            read(tmp_path, [good, {"text": "a b", "label": label}])
        found = read(tmp_path, [good, {"text": "a b", "label": label}], on_bad_row="skip")
        assert len(found.records) == 1


def test_texts_that_annotators_left_out_are_counted(tmp_path: Path) -> None:
    rows = [FORMS["Prodigy"], {**FORMS["Prodigy"], "answer": "reject"}, {**FORMS["Prodigy"], "answer": "ignore"}]
    found = read(tmp_path, rows)
    assert len(found.records) == 1
    assert "2 texts were rejected or ignored" in found.warnings[0]
    one = studio({"start": 0, "end": 2, "labels": ["ORG"]})
    other = {**one, "annotations": [{**one["annotations"][0], "was_cancelled": True}, *one["annotations"] * 2]}
    found = read(tmp_path, [one, {**one, "annotations": []}, other], "a.json")
    assert len(found.records) == 2
    assert any("1 text has no annotation" in warning for warning in found.warnings)
    assert any("1 text has several annotations" in warning for warning in found.warnings)


def test_brat_has_its_text_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "corpus" / "part"
    folder.mkdir(parents=True)
    (folder / "one.txt").write_text("Apple left Rome.\n\nA new\nline.\n")
    spans = ["ORG 0 5\tApple", "LOC 11 15\tRome", "X 20 28\tnew line", "Y 0 5;11 15\tApple Rome"]
    ann = [f"T{number}\t{span}" for number, span in enumerate(spans, 1)]
    (folder / "one.ann").write_text("\n".join([*ann, "R1\tIn Arg1:T1 Arg2:T2", "#1\tNote T1\tx"]) + "\n")
    expected = [
        (("Apple", "left", "Rome", "."), ("B-ORG", "O", "B-LOC", "O")),
        (("A", "new", "line", "."), ("O", "B-X", "I-X", "O")),
    ]
    for path in (folder / "one.ann", tmp_path / "corpus"):
        found = read_records(str(path), "tag")
        assert [(record.words, record.tags) for record in found.records] == expected
        assert any("1 span is discontinuous" in warning for warning in found.warnings)
    (folder / "one.txt").unlink()
    with pytest.raises(DataError, match=r"one\.ann has spans of .*one\.txt, which does not exist"):
        read_records(str(folder / "one.ann"), "tag")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "Sentence #,Word,POS,Tag\nSentence: 1,EU,N,B-ORG\n,rejects,V,O\nSentence: 2,Rome,N,B-LOC\n"),
        ("a.csv", 'sentence_id,word,tag\n1,EU,B-ORG\n1,"rejects",O\n2,Rome,B-LOC\n'),
        ("a.tsv", "sentence_id\tword\ttag\n1\tEU\tB-ORG\n1\trejects\tO\n2\tRome\tB-LOC\n"),
    ],
)
def test_one_word_per_row(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    expected = [(("EU", "rejects"), ("B-ORG", "O")), (("Rome",), ("B-LOC",))]
    found = read_records(str(tmp_path / name), "tag").records
    assert [(record.words, record.tags) for record in found] == expected
    predicted = [record for records in RecordReader(str(tmp_path / name), "tag") for record in records]
    assert [record.words for record in predicted] == [words for words, _ in expected]


def test_a_row_that_is_left_out_takes_its_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sent,word,tag\n1,a,O\n2,b,O\n2,c\n2,d,O\n3,e,O\n")
    columns = Columns(sentence="sent", on_bad_row="skip")
    found = read_records(str(tmp_path / "a.csv"), "tag", columns)
    assert [record.words for record in found.records] == [("a",), ("e",)]


@given(text=st.text("aB \n.中\U0001f600", max_size=30), data=st.data())
def test_spans_of_whole_words_come_back_as_entities(text: str, data: st.DataObject) -> None:
    _, words, begins = words_in(text)
    if not words:
        return
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, len(words) - 1))
    start, end = begins[first], begins[last] + len(words[last])
    parser = SpanParser(OpenFile("a.jsonl"), Columns(), ())
    shift = data.draw(st.sampled_from([0, 1]))
    offsets = [len(text[:at].encode("utf-16-le")) // 2 if shift else at for at in (start, end)]
    span = {"start": offsets[0], "end": offsets[1], "label": "X", "text": text[start:end]}
    (record,) = parser.parse({"text": text, "spans": [span]}, "a:1") or []
    (entity,) = entities(record.tags or ())
    # The same text may also stand at the offset read the other way.
    if text.count(text[start:end]) == 1:
        assert (entity.first, entity.last) == (first, last + 1)


@pytest.mark.parametrize(
    ("spans", "said"),
    [
        ({"ORG": [1, 2]}, "has 1 for a span of 'ORG', but [start, last] is expected"),
        ({"ORG": {"EU": 5}}, "has 5 for a span of 'ORG'"),
        ({"ORG": {"EU": [[0, 1, 2]]}}, r"has [0, 1, 2] for a span of 'ORG'"),
        ([5], "has 5 where a span [start, end, type] is expected"),
        ([None], "has None where a span"),
        ([{"start": 0, "end": 2, "label": {"name": "ORG"}}], "has {'name': 'ORG'} for the type of a span"),
        ([{"start": 0, "end": 2, "label": " "}], "has ' ' for the type of a span"),
    ],
)
def test_spans_of_another_form_are_refused_with_their_line(tmp_path: Path, spans: Any, said: str) -> None:
    rows = [{"text": TEXT, "label": [[0, 2, "ORG"]]}, {"text": TEXT, "label": spans}]
    with pytest.raises(DataError, match=re.escape(said)) as error:
        read(tmp_path, rows)
    assert f"{tmp_path}/a.jsonl:2 " in str(error.value)
