"""Texts with labels are read from whatever people have; what is wrong is named with its line."""

from __future__ import annotations

import gzip
import json

import pytest
import zstandard

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.read_similar import read_similar
from maskling.data.labelled.reader import RecordFile, read_records
from maskling.data.labelled.records import TextRecord
from maskling.errors import DataError


def read_texts(
    path: str, columns: Columns | None = None, *, numbers: bool = False, labelled: bool = False
) -> RecordFile:
    labels = "required" if labelled else "optional"
    return read_records(path, "regress" if numbers else "classify", columns, labels=labels)


def written(folder, name, text):
    path = folder / name
    data = text.encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    if name.endswith(".zst"):
        data = zstandard.compress(data)
    path.write_bytes(data)
    return str(path)


ROWS = [{"text": 'good,\nreally "good"', "label": "yes"}, {"text": "bad", "label": "no"}]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", LINES),
        ("a.jsonl.gz", LINES),
        ("a.jsonl.zst", LINES),
        ("a.json", LINES),
        ("a.json", json.dumps(ROWS)),
        ("a.csv", '\ufefftext,label\r\n"good,\nreally ""good""",yes\r\nbad,no\r\n'),
        ("a.csv", 'label;text\nyes;"good,\nreally ""good"""\nno;bad\n'),
    ],
)
def test_the_same_records_from_every_format(tmp_path, name, text):
    records = read_texts(written(tmp_path, name, text)).records
    assert [(record.text, record.label) for record in records] == [(row["text"], row["label"]) for row in ROWS]
    assert records[0].id.startswith(name + ":")


def test_a_quote_in_tsv_is_a_character_as_in_glue(tmp_path):
    path = written(tmp_path, "dev.tsv", 'sentence\tlabel\n"it\'s a charming journey\t1\na "b"\t0\n')
    assert read_texts(path).records == [
        TextRecord("dev.tsv:2", "\"it's a charming journey", None, "1"),
        TextRecord("dev.tsv:3", 'a "b"', None, "0"),
    ]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("index\tsentence1\tsentence2\tlabel", "0\tone\ttwo\tentailment", ("one", "two", "entailment")),
        ("id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "0\t1\t2\tone\ttwo\t1", ("one", "two", "1")),
        ("index\tquestion\tsentence\tlabel", "0\tone\ttwo\tno", ("one", "two", "no")),
        ("Quality\t#1 ID\t#2 ID\t#1 String\t#2 String", "1\t7\t8\tone\ttwo", ("one", "two", "1")),
        ("index\tgenre\tsentence1\tsentence2\tlabel1\tgold_label", "0\tx\tone\ttwo\tA\tB", ("one", "two", "B")),
        ("premise\thypothesis\tlabel", "one\ttwo\t2", ("one", "two", "2")),
        ("text\tlabel", "one\t2", ("one", None, "2")),
        ("title\treview\tsentiment", "x\tone\tgood", ("one", None, "good")),
        ("index\tsentence", "0\tone", ("one", None, None)),
    ],
)
def test_columns_are_known_by_the_names_that_published_sets_use(tmp_path, header, row, expected):
    (record,) = read_texts(written(tmp_path, "a.tsv", f"{header}\n{row}\n")).records
    assert (record.text, record.text_pair, record.label) == expected


def test_columns_can_be_said_by_name_or_number(tmp_path):
    named = written(tmp_path, "a.csv", "text,kind,note\none,x,two\n")
    (record,) = read_texts(named, Columns(text="note", label="kind")).records
    assert (record.text, record.text_pair, record.label) == ("two", None, "x")
    (record,) = read_texts(named, Columns(text="text", text_pair="note", label="kind")).records
    assert (record.text, record.text_pair) == ("one", "two")
    # CoLA has no header.
    cola = written(tmp_path, "cola.tsv", "gj04\t1\t\tOur friends won't buy it.\ngj04\t0\t*\tThey it.\n")
    records = read_texts(cola, Columns(text="3", label="1")).records
    assert [(record.text, record.label) for record in records] == [
        ("Our friends won't buy it.", "1"),
        ("They it.", "0"),
    ]


def test_labels_may_be_names_lists_numbers_or_absent(tmp_path):
    labels = ["a", 1, 1.0, True, ["a", "b"], [], None, -1]
    path = written(tmp_path, "a.jsonl", "".join(json.dumps({"text": "t", "label": label}) + "\n" for label in labels))
    found = [record.label for record in read_texts(path).records]
    assert found == ["a", "1", "1", "true", ("a", "b"), (), None, "-1"]
    path = written(tmp_path, "b.csv", "text,label\nt,joy | fear\nt,\nt,joy\n")
    assert [record.label for record in read_texts(path, Columns(separator="|")).records] == [
        ("joy", "fear"),
        (),
        ("joy",),
    ]
    path = written(tmp_path, "c.csv", "sentence1,sentence2,score\nt,u,2.5\nt,u,3\nt,u,\n")
    assert [record.label for record in read_texts(path, numbers=True).records] == [2.5, 3.0, None]


def test_plain_lines_are_texts_without_labels(tmp_path):
    path = written(tmp_path, "a.txt", "one\n\ntwo\tthree\n")
    records = read_records(path, "classify", labels="ignored").records
    assert records == [TextRecord("a.txt:1", "one"), TextRecord("a.txt:3", "two", "three")]


@pytest.mark.parametrize(
    ("name", "text", "columns", "said"),
    [
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"', {}, "a.jsonl:2 is not JSON"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n[1]\n', {}, "a.jsonl:2 is not an object"),
        ("a.jsonl", '{"text": "a"}\n\n{"text": 7}\n', {}, "a.jsonl:3 has no text in 'text' but a number"),
        ("a.jsonl", '{"text": "a", "label": {"x": 1}}\n', {}, "a.jsonl:1 has an object for a label in 'label'"),
        ("a.jsonl", '{"txt": "a", "lbl": "x"}\n', {}, "known for texts, but 'txt', 'lbl'; name it"),
        ("a.jsonl", '{"text": "a", "lable": "x"}\n', {"label": "label"}, "no column 'label'; did you mean 'lable'"),
        ("a.csv", "text,label\nhello, world,x\n", {}, "a.csv:2 has 3 columns, and the table has 2; put quotes"),
        ("a.csv", 'text,label\n"a\nb,x\n', {}, "a.csv:2 has a quote inside a cell that is neither doubled"),
        ("a.csv", "I like it,good\nI do not,bad\n", {}, "by index, from 0"),
        ("a.tsv", "text\tlabel\na\n", {}, "a.tsv:2 has 1 columns"),
        ("a.jsonl", "", {}, "a.jsonl has no records"),
        ("a.csv", "text,label\n", {}, "a.csv has no records"),
        ("a.csv", "", {}, "a.csv has no records"),
        ("a.pdf", "x", {}, "files that end in '.pdf' are not read"),
        ("a.json", "[1, 2", {}, "a.json is not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, text, columns, said):
    with pytest.raises(DataError) as raised:
        read_texts(written(tmp_path, name, text), Columns(**columns))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(DataError, match="there is no such file"):
        read_texts(str(tmp_path / "none.jsonl"))
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(LINES.encode() * 99)[:-20])
    with pytest.raises(DataError, match=r"cut.jsonl.gz (is damaged|cannot be read)"):
        read_texts(str(tmp_path / "cut.jsonl.gz"))
    (tmp_path / "gbk.csv").write_bytes("text,label\n中文很好,好\n".encode("gbk"))
    with pytest.raises(DataError, match=r"gbk.csv is not UTF-8 text.*save it as UTF-8"):
        read_texts(str(tmp_path / "gbk.csv"))
    with pytest.raises(DataError, match="is a folder"):
        read_texts(str(tmp_path))


@pytest.mark.parametrize("label", ["x", "nan", True, [1.0]])
def test_a_label_that_is_no_number_is_refused_where_numbers_are_learned(tmp_path, label):
    path = written(tmp_path, "a.jsonl", json.dumps({"text": "a", "label": label}))
    with pytest.raises(DataError, match=r"a.jsonl:1 has .* but a number is needed"):
        read_texts(path, numbers=True)


def test_bad_rows_can_be_left_out_and_are_counted(tmp_path):
    path = written(tmp_path, "a.tsv", "text\tlabel\na\tx\nb\nc\ty\tz\nd\ty\n")
    found = read_texts(path, Columns(on_bad_row="skip"))
    assert [record.text for record in found.records] == ["a", "d"]
    assert len(found.warnings) == 1
    assert "2 rows left out" in found.warnings[0]
    assert "a.tsv:3" in found.warnings[0]
    with pytest.raises(DataError, match="none of its 1 rows could be read"):
        read_texts(written(tmp_path, "b.tsv", "text\tlabel\na\n"), Columns(on_bad_row="skip"))


@pytest.mark.parametrize(
    ("name", "text", "numbers", "said"),
    [
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": null}\n', False, "a.jsonl:2 has no label in"),
        ("a.jsonl", '{"text": "b"}\n{"text": "a", "label": "x"}\n', False, "a.jsonl:1 has no column with"),
        ("a.csv", "text,label\na,x\nb, \n", False, "a.csv:3 has no label in 'label'"),
        ("a.csv", "text,score\na,1\nb,\n", True, "a.csv:3 has no number in 'score'"),
        ("a.tsv", "premise\thypothesis\tgold_label\na\tc\tx\nb\tc\t-\n", False, "did not agree"),
    ],
)
def test_rows_without_a_label_are_bad_where_labels_are_needed(tmp_path, name, text, numbers, said):
    path = written(tmp_path, name, text)
    assert len(read_texts(path, numbers=numbers).records) == 2
    with pytest.raises(DataError, match=r"columns\.on_bad_row skip") as raised:
        read_texts(path, numbers=numbers, labelled=True)
    assert said in str(raised.value)
    found = read_texts(path, Columns(on_bad_row="skip"), numbers=numbers, labelled=True)
    assert [record.text for record in found.records] == ["a"]
    assert found.warnings[0].startswith("1 rows left out, the first because")
    assert said in found.warnings[0]


def test_no_label_is_the_empty_list_where_there_may_be_several(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\na,x|y\nb,\n")
    found = read_texts(path, Columns(separator="|"), labelled=True)
    assert [record.label for record in found.records] == [("x", "y"), ()]


def test_a_dash_is_a_label_in_other_columns_than_gold_label(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\na,+\nb,-\n")
    assert [record.label for record in read_texts(path, labelled=True).records] == ["+", "-"]


def test_pairs_without_a_score_can_be_left_out_where_others_have_one(tmp_path):
    path = written(tmp_path, "a.csv", "sentence1,sentence2,score\na,b,1\nc,d,\ne,f,x\ng,h,2\n")
    with pytest.raises(DataError, match=r"a\.csv:4 has 'x'"):
        read_similar(path, Columns())
    found = read_similar(path, Columns(on_bad_row="skip"))
    assert (found.form, [record.label for record in found.records]) == ("scored", [1.0, 2.0])
    assert "2 rows left out" in found.warnings[0]


@pytest.mark.parametrize(
    ("header", "columns", "twice"),
    [
        ("text,label,text", {}, "text"),
        ("label,text,label", {}, "label"),
        ("text,note,note", {"label": "note"}, "note"),
        ("sentence1,sentence2,sentence2", {}, "sentence2"),
    ],
)
def test_a_name_that_several_columns_have_is_refused_where_it_is_used(tmp_path, header, columns, twice):
    path = written(tmp_path, "a.csv", f"{header}\na,b,c\n")
    with pytest.raises(DataError, match=rf"a\.csv has several columns named '{twice}'; rename"):
        read_texts(path, Columns(**columns))


def test_names_of_columns_that_are_not_used_may_be_repeated(tmp_path):
    path = written(tmp_path, "a.csv", "note,text,note,label,,\nn,a,m,x,,\n")
    (record,) = read_texts(path).records
    assert (record.text, record.label) == ("a", "x")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Text,Label", ("a", None, "b")),
        ("TEXT,Sentiment", ("a", None, "b")),
        ("Sentence1,SENTENCE2", ("a", "b", None)),
        ("Text,text", ("b", None, None)),  # the name as it is known goes before
    ],
)
def test_names_of_columns_are_known_in_any_case(tmp_path, header, expected):
    (record,) = read_texts(written(tmp_path, "a.csv", f"{header}\na,b\n")).records
    assert (record.text, record.text_pair, record.label) == expected


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.csv",
            'Review text,Stars\n"a\nb",x\n',
            "a.csv:1 has no column with a name known for texts, but 'Review text'",
        ),
        ("a.csv", "TEXT,Text\na,b\n", "a.csv:1 has no column with a name known for texts, but 'TEXT', 'Text'"),
        (
            "a.csv",
            'text,mood\n"a\nb",x\n',
            "a.csv:1 has no column with a name known for labels, but 'text', 'mood'; name",
        ),
        (
            "a.jsonl",
            '{"text": "a", "mood": "x"}',
            "a.jsonl:1 has no column with a name known for labels, but 'text', 'mo",
        ),
        ("a.txt", "a\n", "a.txt: lines of a .txt are texts without labels"),
    ],
)
def test_columns_that_are_not_known_are_listed_with_the_line_of_the_header(tmp_path, name, text, said):
    with pytest.raises(DataError) as raised:
        read_texts(written(tmp_path, name, text), labelled=True)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0.0", "1.0", "-1.0"], ["0", "1", "-1"]),  # as JSON's 1.0 is called
        (["1.0", "1.5"], ["1.0", "1.5"]),
        (["1.0", "v1.0"], ["1.0", "v1.0"]),
        (["1.00", "2.00"], ["1.00", "2.00"]),
    ],
)
def test_whole_numbers_that_pandas_wrote_are_named_without_their_zeros(tmp_path, labels, expected):
    path = written(tmp_path, "a.csv", "text,label\n" + "".join(f"t,{label}\n" for label in labels) + "t,\n")
    assert [record.label for record in read_texts(path).records] == [*expected, None]
