"""Labels in every form that people write them in: one-hot, lists as text, numbers with names, columns of 0 and 1."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.read_labels import list_in_text
from maskling.data.labelled.read_similar import read_similar
from maskling.data.labelled.reader import read_records
from maskling.errors import DataError, SettingsError


def written(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


def jsonl(folder: Path, labels: list[object]) -> str:
    return written(folder, "a.jsonl", "".join(json.dumps({"text": "t", "labels": one}) + "\n" for one in labels))


def labels_of(path: str, **columns: str) -> list[object]:
    return [record.label for record in read_records(path, "classify", Columns(**columns)).records]


@pytest.mark.parametrize("kind", [int, float, bool])
def test_one_hot_lists_say_which_places_apply(tmp_path: Path, kind: type) -> None:
    path = jsonl(tmp_path, [[kind(bit) for bit in bits] for bits in ([0, 1, 0], [1, 1, 0], [0, 0, 0])])
    assert labels_of(path) == [("1",), ("0", "1"), ()]
    assert labels_of(path, label_names="joy, fear,anger") == [("fear",), ("joy", "fear"), ()]
    (warning,) = read_records(path, "classify").warnings
    assert "lists of 3 zeros and ones are read as one-hot" in warning
    assert read_records(path, "classify", Columns(label_names="a,b,c")).warnings == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([["joy"], ["joy", "fear"], []], [("joy",), ("joy", "fear"), ()]),
        ([[0], [1], [1]], [("0",), ("1",), ("1",)]),  # lists of one label each
        ([[0, 1], [0, 1]], [("0", "1"), ("0", "1")]),  # both labels, as far as anybody can tell
        ([[0, 1], [1, 0]], [("1",), ("0",)]),
        ([[0, 2], [1]], [("0", "2"), ("1",)]),
    ],
)
def test_lists_of_names_stay_lists_of_names(tmp_path: Path, labels: list[object], expected: list[object]) -> None:
    assert labels_of(jsonl(tmp_path, labels)) == expected


def test_a_list_that_cannot_be_meant_is_refused_with_its_line(tmp_path: Path) -> None:
    path = jsonl(tmp_path, [[0, 1], [0, 1, 0]])
    with pytest.raises(DataError, match=r"a\.jsonl:2 has the list \[0, 1, 0\], which repeats a label"):
        labels_of(path)
    assert labels_of(path, on_bad_row="skip") == [("0", "1")]
    with pytest.raises(DataError, match=r"a\.jsonl:1 has a list of 3 zeros and ones, but there are names for 2"):
        labels_of(jsonl(tmp_path, [[0, 1, 0], [1, 1, 0]]), label_names="a,b")
    with pytest.raises(DataError, match=r"a\.jsonl:2 has '7' in .*, but there are names for the numbers 0 to 1"):
        labels_of(jsonl(tmp_path, [[0], [7]]), label_names="a,b")


def test_lists_in_cells_of_a_table_are_lists(tmp_path: Path) -> None:
    def table(name: str, lists: list[object]) -> str:
        """Write each list by its `str`, as pandas does."""
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([("text", "labels"), *(("t", str(one)) for one in lists)])
        return str(tmp_path / name)

    path = table("a.csv", [["joy", "very angry"], [], ["it's"], ["joy"]])
    expected = [("joy", "very angry"), (), ("it's",), ("joy",)]
    assert labels_of(path) == expected
    assert labels_of(path, separator=",") == expected
    assert labels_of(table("b.csv", [[1, 0, 0], [0, 0, 0], [0, 1, 1], [1, 0, 1]])) == [
        ("0",),
        (),
        ("1", "2"),
        ("0", "2"),
    ]
    # One class in brackets among others is a class.
    assert labels_of(written(tmp_path, "c.csv", "text,label\nt,[other]\nt,joy\n")) == ["[other]", "joy"]


@given(items=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=8)))
def test_lists_that_python_and_json_write_are_read(items: list[str]) -> None:
    assert list_in_text(repr(items)) == items
    if "\\" not in "".join(items):
        assert list_in_text(json.dumps(items, ensure_ascii=False).replace("\\n", "\n")) in (items, None) or any(
            character < " " or character in "\"'" for item in items for character in item
        )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['joy' 'very angry']", ["joy", "very angry"]),  # NumPy
        ("[0 1 0]", ["0", "1", "0"]),
        ("[0. 1.]", ["0.", "1."]),
        ("[joy, very angry]", ["joy", "very angry"]),
        ("{'joy'}", ["joy"]),
        ("('joy', 'fear')", ["joy", "fear"]),
        ('["a, b"]', ["a, b"]),
        ("joy", None),
        ("[joy", None),
    ],
)
def test_lists_as_text(text: str, expected: list[str] | None) -> None:
    assert list_in_text(text) == expected


def test_a_column_for_each_label(tmp_path: Path) -> None:
    text = 'id,comment_text,toxic,threat,insult\n1,"a,\nb",1,0,1\n2,c,0,0,0\n3,d,0,1.0,False\n4,e,-1,-1,-1\n'
    path = written(tmp_path, "train.csv", text)
    columns = Columns(label="toxic, threat,insult")
    found = read_records(path, "classify", columns, labels="optional").records
    assert [record.label for record in found] == [("toxic", "insult"), (), ("threat",), None]
    with pytest.raises(DataError, match=r"train\.csv:6 has no label"):
        read_records(path, "classify", columns)
    with pytest.raises(DataError, match=r"c\.csv:3 has '2' in 'id', but a column for one label"):
        read_records(written(tmp_path, "c.csv", "id,text,x\n1,a,1\n2,b,0\n"), "classify", Columns(label="x,id"))
    with pytest.raises(DataError, match="no column 'tozic'; did you mean 'toxic'"):
        read_records(path, "classify", Columns(label="tozic,threat"))
    with pytest.raises(DataError, match=r"has no column with .* \(or several of 0 and 1, separated by commas\)"):
        read_records(path, "classify")
    headless = written(tmp_path, "b.csv", "a,1,0\nb,0,1\n")
    assert labels_of(headless, text="0", label="1,2") == [("1",), ("2",)]
    with pytest.raises(DataError, match="several columns of labels; name one column of numbers"):
        read_records(path, "regress", columns)


def test_numbers_get_names(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text,label\na,0\nb,1\nc,-1\nd,neutral\n")
    names = written(tmp_path, "labels.txt", "negative\n\nneutral\n")
    columns = Columns(label_names=names)
    found = read_records(path, "classify", columns, labels="optional").records
    assert [record.label for record in found] == ["negative", "neutral", None, "neutral"]
    rows = [{"tokens": ["EU", "rejects"], "ner_tags": [1, 0]}, {"tokens": ["x"], "ner_tags": [2]}]
    tagged = written(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    records = read_records(tagged, "tag", Columns(label_names="O,B-ORG,I-ORG")).records
    assert [record.tags for record in records] == [("B-ORG", "O"), ("I-ORG",)]
    with pytest.raises(
        DataError, match=r"a\.jsonl:2 has '2' in 'ner_tags', but there are names for the numbers 0 to 1"
    ):
        read_records(tagged, "tag", Columns(label_names="O,B-ORG"))
    columns = written(tmp_path, "a.conll", "EU 1\nx 0\n")
    assert read_records(columns, "tag", Columns(label_names="O,B-ORG")).records[0].tags == ("B-ORG", "O")
    for wrong in ("O", "O,O", "missing.txt"):
        with pytest.raises(SettingsError, match=r"columns\.label_names is"):
            read_records(tagged, "tag", Columns(label_names=wrong))
    with pytest.raises(SettingsError, match="names classes or tags, and this task has none"):
        read_records(path, "regress", Columns(label_names="a,b"))


def class_label(*names: str) -> dict[str, object]:
    return {"names": list(names), "_type": "ClassLabel"}


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_parquet_and_arrow_have_the_names_of_the_hub(tmp_path: Path, suffix: str) -> None:
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": class_label("neg", "pos"),
        "words": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "Sequence"},
        "ner_tags": {"feature": class_label("O", "B-X"), "_type": "Sequence"},
    }
    table = pyarrow.table(
        {
            "text": ["a", "b", "c"],
            "label": [1, 0, -1],
            "words": [["u"], ["v", "w"], ["x"]],
            "ner_tags": [[1], [0, 1], [0]],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path = tmp_path / f"a{suffix}"
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pyarrow.ipc.new_stream(path, table.schema) as writer:  # as datasets writes it
            writer.write_table(table)
    found = read_records(str(path), "classify", labels="optional").records
    assert [(record.id, record.text, record.label) for record in found] == [
        (f"a{suffix}:1", "a", "pos"),
        (f"a{suffix}:2", "b", "neg"),
        (f"a{suffix}:3", "c", None),
    ]
    assert [record.tags for record in read_records(str(path), "tag").records] == [("B-X",), ("O", "B-X"), ("O",)]
    path.write_bytes(path.read_bytes()[:-20] + b"x" * 20)
    with pytest.raises(DataError, match=rf"a\{suffix} cannot be read"):
        read_records(str(path), "classify", labels="optional")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"negative": "n"}, ("n",)),
        ({"negative": ["n", "m"]}, ("n", "m")),
        ({"negatives": ["n", "m", "o"]}, ("n", "m", "o")),
        ({"negative_1": "n", "negative_2": "m"}, ("n", "m")),
        ({"negative1": "n", "hard_negative_0": "m"}, ("n", "m")),
        ({"negative": None}, ()),
        ({"negative": ""}, ()),
    ],
)
def test_all_hard_negatives_are_read(tmp_path: Path, row: dict[str, object], expected: tuple[str, ...]) -> None:
    rows = [{"anchor": "a", "positive": "b"}, {"anchor": "c", "positive": "d", **row}]
    for order in (rows, rows[::-1]):
        path = written(tmp_path, "a.jsonl", "".join(json.dumps(one) + "\n" for one in order))
        found = {record.text: record.negatives for record in read_similar(path, Columns()).records}
        assert found == {"a": (), "c": expected}


def test_hard_negatives_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", json.dumps({"anchor": "a", "positive": "b", "negative": [{"text": "n"}]}))
    with pytest.raises(DataError, match=r"a\.jsonl:1 has no text and no list of texts in 'negative'"):
        read_similar(path, Columns())
    path = written(tmp_path, "a.csv", "anchor,positive,n1,n2\na,b,c,d\n")
    (record,) = read_similar(path, Columns(negative="n1,n2")).records
    assert record.negatives == ("c", "d")
    path = written(tmp_path, "a.csv", "anchor,positive,negative,score\na,b,c,1\nd,e,f,2\n")
    with pytest.raises(DataError, match=r"a\.csv:2 has a score and a hard negative"):
        read_similar(path, Columns())


@pytest.mark.parametrize(
    "form", ["0 1 0", "0,1,0", "0, 1, 0", "0;1;0", "0.0 1.0 0.0", "tensor([0, 1, 0])", "array([0, 1, 0], dtype=int64)"]
)
def test_one_hot_labels_without_brackets_or_as_printed(tmp_path: Path, form: str) -> None:
    other = form.replace("1", "2").replace("0", "1", 1).replace("2", "0")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "labels"], ["a", form], ["b", other]])
    assert labels_of(str(tmp_path / "a.csv")) == [("1",), ("0",)]


def test_sets_as_python_prints_them(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "text,labels\na,\"{'joy', 'fear'}\"\nb,set()\nc,frozenset({'joy'})\n")
    assert labels_of(path) == [("joy", "fear"), (), ("joy",)]
