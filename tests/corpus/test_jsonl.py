from __future__ import annotations

import gzip
import json
import re
from typing import Any

import pytest

from maskling.corpus.readers import jsonl
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError


def lines(*rows: Any) -> bytes:
    return "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows).encode()


def test_text_and_id_by_name_and_by_path(read_file: Any) -> None:
    rows = lines({"text": "one\u2028x", "n": 7}, "", {"text": "two", "n": "b"})
    documents, _ = read_file("a.jsonl", rows)
    assert [(d.id, d.text) for d in documents] == [("a.jsonl:1", "one\u2028x"), ("a.jsonl:3", "two")]
    assert [d.id for d in read_file("a.ndjson", rows, id_field="n")[0]] == ["7", "b"]
    nested = lines({"a": {"b": {"c": "deep"}}}, {"a.b.c": "flat"})
    assert [d.text for d in read_file("a.jsonl", nested, text_field="a.b.c")[0]] == ["deep", "flat"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"text": "cut off', "line 2 is not JSON"),
        (
            '{"txet": "x", "id": 3}',
            r"line 2 has no field 'text'; its fields: txet, id; did you mean 'txet'\?; set corpus.text_field",
        ),
        ('{"text": 5}', "line 2 has a number in the field 'text', not text"),
        ('{"text": true}', "line 2 has true or false in the field 'text', not text"),
        ('{"text": ["a", 3]}', "line 2 has a list with a number in the field 'text', not text"),
        ('{"text": {"body": "x", "n": 1}}', "line 2 has an object in the field 'text', not text; its fields: body, n"),
        ('{"text": [{"q": "x"}]}', "line 2 has a list .* whose objects have no text or content or value; .*text.q"),
        ("7", "line 2 is a number, not an object with fields"),
        ("[" * 100_000, "line 2 is nested too deeply|line 2 is not JSON"),
        ("{}", "line 2 has no field 'text'; its fields: none"),
    ],
)
def test_a_bad_line_is_reported_and_the_others_are_kept(read_file: Any, line: str, says: str) -> None:
    rows = lines({"text": "first"}, line, {"text": "third"})
    documents, report = read_file("a.jsonl", rows)
    assert [d.text for d in documents] == ["first", "third"]
    problem = report.problems()[0]
    assert re.search(says, problem)
    assert problem.endswith("; 2 documents kept")
    with pytest.raises(CorpusError, match=r"a\.jsonl: line 2"):
        read_file("a.jsonl", rows, on_bad_file="stop")


def test_many_bad_lines_are_one_line_with_a_count(read_file: Any) -> None:
    _, report = read_file("a.jsonl", lines(*[{"body": "x"}] * 1003, {"text": "y"}))
    assert report.bad_files[0].num_faults == 1003
    assert "(and 1,002 more like it); 1 document kept" in report.problems()[0]


def test_what_python_and_javascript_write_beside_the_standard_is_read(read_file: Any) -> None:
    documents, report = read_file("a.jsonl", b'{"text": "half \\ud800 pair", "score": NaN}\r\n')
    assert documents[0].text == "half \ud800 pair"
    assert report.problems() == []


def test_good_documents_before_the_end_of_a_cut_file_are_kept(read_file: Any) -> None:
    data = gzip.compress(lines(*[{"text": f"document {i} " + str(i * 2654435761 % 2**32)} for i in range(5000)]))
    documents, report = read_file("a.jsonl.gz", data[: len(data) // 2])
    assert 100 < len(documents) < 5000
    assert documents[7].text.startswith("document 7 ")
    assert (
        f"a.jsonl.gz: is damaged: Compressed file ended before the end-of-stream marker was reached; {len(documents):,}"
        in (report.problems()[0])
    )


def test_invalid_bytes_inside_a_line_are_replaced(read_file: Any) -> None:
    documents, report = read_file("a.jsonl", b'{"text": "a long enough piece of caf\xff text"}')
    assert documents[0].text == "a long enough piece of caf\ufffd text"
    assert report.replaced_bytes == 1
    with pytest.raises(CorpusError, match=r"a\.jsonl, line 1: byte 0xe9"):
        read_file("a.jsonl", b'{"text": "caf\xe9"}', errors="strict")


def test_other_encodings(read_file: Any) -> None:
    assert read_file("a.jsonl", '{"text": "中文"}\n'.encode("gbk"), encoding="gbk")[0][0].text == "中文"
    assert read_file("a.jsonl", '{"text": "中文"}\n'.encode("utf-16"))[0][0].text == "中文"


def test_a_line_of_many_megabytes_is_a_document_and_one_past_the_limit_is_reported(
    read_file: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = lines({"text": "x" * 3_000_000}, {"text": "after"})
    assert [len(d.text) for d in read_file("a.jsonl", rows)[0]] == [3_000_000, 5]
    monkeypatch.setattr(jsonl, "LONGEST_LINE", 1_000_000)
    documents, report = read_file("a.jsonl", rows)
    assert [d.text for d in documents] == ["after"]
    assert "line 1 is longer than 1,000,000 characters" in report.problems()[0]


def test_settings_refuse_what_does_not_exist() -> None:
    for wrong in ({"encoding": "utf-9"}, {"encoding": "rot13"}, {"format": "docx"}):
        with pytest.raises(ValueError, match="there is no such"):
            CorpusSettings(**wrong)  # type: ignore[arg-type]
