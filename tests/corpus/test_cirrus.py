"""Cirrus search dumps of Wikipedia: pages of JSON Lines, each below an action of Elasticsearch."""

from __future__ import annotations

import bz2
import gzip
import json
from typing import Any

import pytest

TEXTS = [f"The fox number {n} runs through the wood." for n in range(4)]


def cirrus_dump(texts: list[str], **more: Any) -> bytes:
    lines = []
    for number, text in enumerate(texts):
        lines.append(json.dumps({"index": {"_type": "page", "_id": str(number)}}))
        row = {"title": f"T {number}", "text": text, "namespace": 0, "template": ["Template:Cite"], "language": "de"}
        lines.append(json.dumps({**row, **more}))
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize("pack", [bytes, bz2.compress, gzip.compress])
def test_cirrus_search_dumps(read_file: Any, pack: Any) -> None:
    content = cirrus_dump(TEXTS)
    content += cirrus_dump(["Talk."], namespace=1) + cirrus_dump(["A list."], template=["Vorlage:Begriffsklärung"])
    suffix = {bytes: "", bz2.compress: ".bz2", gzip.compress: ".gz"}[pack]
    name = f"dewiki_content-20260906-00000.json{suffix}"
    documents, report = read_file(name, pack(content))
    assert [document.text for document in documents] == TEXTS
    assert documents[1].id == f"{name}:T 1"
    assert {document.language for document in documents} == {"de"}
    assert report.files[0].left_out == {"outside_namespace_0": 1, "disambiguation": 1}
    assert report.files[0].problem() is None


def test_other_fields_of_a_cirrus_dump_are_read_as_rows(read_file: Any) -> None:
    content = cirrus_dump(TEXTS[:2], opening_text="The opening.")
    documents, report = read_file("x.json", content, text_field="opening_text")
    assert [document.text for document in documents] == ["The opening."] * 2
    assert "2 lines are actions" in (report.files[0].problem() or "")
