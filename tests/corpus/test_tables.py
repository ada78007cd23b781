from __future__ import annotations

import csv
import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskling.corpus.document import Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.csv import read_csv
from maskling.corpus.settings import CorpusSettings
from maskling.errors import MissingExtra


def test_csv_by_column_with_quotes_and_line_breaks(read_file: Any) -> None:
    content = b'id,text\n7,"one, ""two""\nthree"\n\n8,four\n'
    documents, _ = read_file("a.csv", content)
    assert [(d.id, d.text) for d in documents] == [("a.csv:3", 'one, "two"\nthree'), ("a.csv:5", "four")]
    assert [d.id for d in read_file("a.csv", content, id_field="id")[0]] == ["7", "8"]


@given(texts=st.lists(st.text(alphabet='ab ",\n\té', min_size=1), min_size=1))
def test_csv_reads_what_the_library_writes(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerows([["n", "text"], *([str(i), text] for i, text in enumerate(texts))])
    path.write_bytes(buffer.getvalue().encode())
    documents = list(read_csv(Source(str(path)), CorpusSettings(), FileReport("")))
    assert [d.text for d in documents] == texts


def test_a_field_longer_than_the_librarys_limit(read_file: Any) -> None:
    assert len(read_file("a.csv", b"text\n" + b"x" * 200_000)[0][0].text) == 200_000


def test_tsv_takes_quotes_as_they_are(read_file: Any) -> None:
    documents, _ = read_file("a.tsv", b'label\ttext\n1\tan "unbalanced quote\n0\tnext\n')
    assert [d.text for d in documents] == ['an "unbalanced quote', "next"]


def test_a_table_without_header_by_number(read_file: Any) -> None:
    documents, _ = read_file("a.tsv", b"1\tone\n0\ttwo\n", text_field="1")
    assert [d.text for d in documents] == ["one", "two"]


def test_bad_tables(read_file: Any) -> None:
    _, report = read_file("a.csv", b"id,body\n1,x\n")
    assert "line 1 has no field 'text'; its fields: id, body" in report.problems()[0]
    documents, report = read_file("a.csv", b"id,text\n1\n2,ok\n")
    assert [d.text for d in documents] == ["ok"]
    assert "line 2 has 1 columns, and the table has 2" in report.problems()[0]


def parquet(rows: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(rows), buffer, row_group_size=101)
    return buffer.getvalue()


def test_parquet_by_column_and_struct(read_file: Any) -> None:
    texts = [f"text {i}" for i in range(1009)]
    data = parquet(
        {"text": texts, "key": list(range(1009)), "meta": [{"body": f"inner {i}", "x": i} for i in range(1009)]}
    )
    documents, _ = read_file("a.parquet", data)
    assert [d.text for d in documents] == texts
    assert documents[6].id == "a.parquet:7"
    documents, _ = read_file("a.parquet", data, text_field="meta.body", id_field="key")
    assert (documents[1008].id, documents[1008].text) == ("1008", "inner 1008")


def test_bad_parquet(read_file: Any) -> None:
    documents, report = read_file("a.parquet", parquet({"text": ["a", None, "c"]}))
    assert [d.text for d in documents] == ["a", "", "c"]
    assert report.problems()[0].endswith("1 document has no text (null or an empty list)")
    assert not report.bad_files
    assert "has no field 'text'; its fields: body" in read_file("a.parquet", parquet({"body": ["a"]}))[1].problems()[0]
    assert "is not a complete Parquet file" in read_file("a.parquet", parquet({"text": ["a"]})[:-20])[1].problems()[0]


def test_a_row_of_parquet_that_is_no_text_is_left_out(read_file: Any) -> None:
    values = pa.array([b"one", b"caf\xe9", b"three"], pa.binary())
    texts = pa.Array.from_buffers(pa.string(), 3, values.buffers())
    documents, report = read_file("a.parquet", parquet({"text": texts}))
    assert [(d.id, d.text) for d in documents] == [("a.parquet:1", "one"), ("a.parquet:3", "three")]
    assert "row 2 is not UTF-8" in report.problems()[0]


def test_parquet_without_its_package_names_the_extra(read_file: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"pip install 'maskling\[data\]'"):
        read_file("a.parquet", b"")
