"""Columns of every type that holds text, in Parquet and Arrow IPC, give the texts that were written."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from maskling.corpus.opening import ReadReport
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

TEXTS = [f"Text {i} é" for i in range(601)]


def as_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def as_file(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=401)
    return buffer.getvalue()


def as_stream(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table, max_chunksize=401)
    return buffer.getvalue()


def as_feather(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pyarrow.feather.write_feather(table, buffer, compression="lz4")
    return buffer.getvalue()


FORMS = {"a.parquet": as_parquet, "a.arrow": as_file, "b.arrow": as_stream, "a.feather": as_feather}
COLUMNS = {
    "string": pa.array(TEXTS),
    "large_string": pa.array(TEXTS, pa.large_string()),
    "binary": pa.array([text.encode() for text in TEXTS], pa.binary()),
    "large_binary": pa.array([text.encode() for text in TEXTS], pa.large_binary()),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_text(read_file: Any, name: str, kind: str) -> None:
    documents, report = read_file(name, FORMS[name](pa.table({"n": list(range(601)), "text": COLUMNS[kind]})))
    assert [d.text for d in documents] == TEXTS
    assert documents[600].id == f"{name}:601"
    assert report.problems() == []


@pytest.mark.parametrize("name", FORMS)
def test_lists_structs_and_several_columns(read_file: Any, name: str) -> None:
    table = pa.table(
        {
            "title": ["T", None, "V"],
            "parts": [["a", "b"], [], None],
            "chat": [[{"role": "u", "content": "c"}, {"role": "a", "content": "d"}], [], None],
            "doc": pa.array([{"body": "e", "n": 1}, {"body": None, "n": 2}, None]),
            "id": pa.array([1, None, 3], pa.float64()),
        }
    )
    data = FORMS[name](table)

    def texts(field: str) -> list[str]:
        return [d.text for d in read_file(name, data, text_field=field)[0]]

    assert texts("parts") == ["a\n\nb", "", ""]
    assert texts("chat") == texts("chat.content") == ["c\n\nd", "", ""]
    assert texts("doc.body") == ["e", "", ""]
    assert texts("title,doc.body") == ["T\n\ne", "", "V"]
    documents, report = read_file(name, data, text_field="title", id_field="id")
    assert [d.id for d in documents] == ["1", f"{name}:2", "3"]
    assert not report.bad_files
    problem = read_file(name, data, text_field="body")[1].problems()[0]
    assert "has no field 'body'; its fields: title, parts, chat, doc.body, doc.n, id" in problem


def test_bytes_in_another_encoding(read_file: Any) -> None:
    data = as_parquet(pa.table({"text": [b"caf\xe9", b"plain"]}))
    documents, report = read_file("a.parquet", data)
    assert [d.text for d in documents] == ["plain"]
    assert "row 1 has bytes in the field 'text' that are not utf-8 (unexpected end of data)" in report.problems()[0]
    assert [d.text for d in read_file("a.parquet", data, encoding="latin-1")[0]] == ["café", "plain"]


@pytest.mark.parametrize("name", FORMS)
def test_damaged_files(read_file: Any, name: str) -> None:
    data = FORMS[name](pa.table({"text": TEXTS}))
    documents, report = read_file(name, data[: len(data) // 2])
    assert len(documents) < 601
    assert "is not a complete" in report.problems()[0]
    assert "is not a complete" in read_file(name, b"")[1].problems()[0]


def test_a_folder_of_datasets(tmp_path: Path) -> None:
    """As `datasets.DatasetDict.save_to_disk` writes it: streams, and notes beside them."""
    for split, texts in (("test", ["z"]), ("train", ["a", "b", "c"])):
        folder = tmp_path / "saved" / split
        folder.mkdir(parents=True)
        names = [f"data-{i:05}-of-{len(texts):05}.arrow" for i in range(len(texts))]
        for name, text in zip(names, texts, strict=True):
            (folder / name).write_bytes(as_stream(pa.table({"text": [text]})))
        (folder / "cache-0123.arrow").write_bytes(as_stream(pa.table({"text": ["of a map"]})))
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
        (folder / "dataset_info.json").write_text(json.dumps({"features": {"text": {"dtype": "string"}}}))
    (tmp_path / "saved" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))

    def texts_of(path: Path) -> list[str]:
        report = ReadReport()
        found = [d.text for _, d in read_documents(expand([str(path)], report), CorpusSettings(), report)]
        assert report.problems() == []
        return found

    assert texts_of(tmp_path / "saved") == ["z", "a", "b", "c"]
    assert texts_of(tmp_path / "saved" / "train") == ["a", "b", "c"]
