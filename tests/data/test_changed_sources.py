"""A finished folder and its sources: a change of their content is noticed, wherever it is in the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import killed_prepare
from maskling.data.manifest import MANIFEST
from maskling.errors import DataError
from tiny_corpus import jsonl, prepared, settings, texts

KEPT = settings(shards=killed_prepare.KEEP_TEXT)


def test_changed_text_of_the_same_size_and_ends_is_refused(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", texts(90, 5))
    content = source.read_bytes()
    assert len(content) > 3 * 4096
    prepared(source, tmp_path / "out", KEPT)
    middle = content.index(b"e", len(content) // 2)
    source.write_bytes(content[:middle] + b"i" + content[middle + 1 :])
    with pytest.raises(DataError, match=r"a\.jsonl has changed since"):
        prepared(source, tmp_path / "out", KEPT)


def test_a_folder_of_an_earlier_version_knows_no_contents_and_is_ready(tmp_path: Path):
    source = jsonl(tmp_path / "a.jsonl", texts(14, 5))
    prepared(source, tmp_path / "out", KEPT)
    manifest = json.loads((tmp_path / "out" / MANIFEST).read_text())
    sources = manifest["made_from"]["sources"]
    del sources["contents"]
    for note in sources["listed"]:
        del note["content"]
    (tmp_path / "out" / MANIFEST).write_text(json.dumps(manifest))
    prepared(source, tmp_path / "out", KEPT)
