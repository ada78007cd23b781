"""Tables of labelled texts in any dialect, as pandas, Excel and the shared tasks write them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from maskling.data.labelled.columns import Columns
from maskling.data.labelled.reader import read_records
from maskling.errors import DataError

TEXTS = ['He said "hi" to me', '"Great" film', "two\nlines", "a\ttab", "plain; and, simple"]


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_what_pandas_writes_is_read(tmp_path: Path, separator: str, suffix: str) -> None:
    """pandas writes tables with Python's csv module, and quotes a cell only where it must."""
    with (tmp_path / f"a{suffix}").open("w", newline="") as file:
        rows = [("text", "label"), *zip(TEXTS, "ababa", strict=True)]
        csv.writer(file, delimiter=separator, lineterminator="\n").writerows(rows)
    found = read_records(str(tmp_path / f"a{suffix}"), "classify").records
    assert [(record.text, record.label) for record in found] == list(zip(TEXTS, "ababa", strict=True))


def test_the_separator_of_a_table_without_header_is_not_the_comma_of_prose(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("gut;Das ist, glaube ich gut\nmies;Das war, wie immer mies\n")
    columns = Columns(text="1", label="0")
    found = read_records(str(tmp_path / "a.csv"), "classify", columns).records
    assert [(record.text, record.label) for record in found] == [
        ("Das ist, glaube ich gut", "gut"),
        ("Das war, wie immer mies", "mies"),
    ]
    (tmp_path / "b.csv").write_text("gut,eins;zwei\nmies,drei;vier\n")
    found = read_records(str(tmp_path / "b.csv"), "classify", Columns(text="1", label="0", delimiter=";")).records
    assert [record.label for record in found] == ["gut,eins", "mies,drei"]


def test_tabs_in_a_csv_and_columns_after_those_that_are_used(tmp_path: Path) -> None:
    """The rows of STS benchmark have seven columns, or nine, and quotes that enclose nothing."""
    rows = ['news\t5.0\tA man, a hat.\t"One," he said', 'forum\t4.2\tThe "economy, no\t"x\tsource one\tsource two']
    (tmp_path / "sts.csv").write_text("\n".join(rows) + "\n")
    found = read_records(str(tmp_path / "sts.csv"), "regress", Columns(text="2", text_pair="3", label="1")).records
    assert [(record.text, record.text_pair, record.label) for record in found] == [
        ("A man, a hat.", '"One," he said', 5.0),
        ('The "economy, no', '"x', 4.2),
    ]


def test_encodings_and_repeated_headers(tmp_path: Path) -> None:
    text = "text,label\nCafé,a\nbar,b\ntext,label\nzoo,a\n"
    (tmp_path / "a.csv").write_bytes(text.encode("cp1252"))
    found = read_records(str(tmp_path / "a.csv"), "classify", Columns(encoding="cp1252"))
    assert [record.text for record in found.records] == ["Café", "bar", "zoo"]
    assert "1 line repeats the header" in found.warnings[0]
    assert any("columns.encoding" in warning for warning in read_records(str(tmp_path / "a.csv"), "classify").warnings)


def test_rows_within_one_object_of_json(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"version": 1, "data": [\n  {"text": "a", "label": "x"},\n  {"text": "b", "label": "y"}\n]}')
    assert [record.text for record in read_records(str(path), "classify").records] == ["a", "b"]
    path.write_text('{\n  "text": "a",\n  "label": "x"\n}\n')
    assert [record.text for record in read_records(str(path), "classify").records] == ["a"]
    lines = tmp_path / "a.jsonl"
    lines.write_text('[{"text": "a", "label": "x"},\n {"text": "b", "label": "y"}]')
    assert [record.text for record in read_records(str(lines), "classify").records] == ["a", "b"]


def test_a_quote_that_is_never_closed_takes_only_its_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label,n\n"open,a,1\ngood,b,2\n' + "fine,a,3\n" * 20)
    with pytest.raises(DataError, match=r"a\.csv:2 "):
        read_records(str(path), "classify")
    found = read_records(str(path), "classify", Columns(on_bad_row="skip"))
    assert [record.text for record in found.records] == ["good", *["fine"] * 20]
