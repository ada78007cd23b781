"""A tokenizer.json that would make gigabytes of a short text is refused before it sees one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import small_models
from maskling.errors import TokenizerError
from maskling.tokenizer.tokenizer import Tokenizer


def tree(folder: Path) -> dict[str, Any]:
    small_models.wordpiece(folder / "words").save(folder / "saved", 40, token_types=True)
    found: dict[str, Any] = json.loads((folder / "saved" / "tokenizer.json").read_text())
    return found


def replace(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


LONG = replace({"String": "a"}, "a" * 500)
HOSTILE = {
    "chain": {"type": "Sequence", "normalizers": [LONG, LONG, LONG]},
    "nested": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": [LONG, LONG]}]},
    "short steps": {"type": "Sequence", "normalizers": [replace({"String": "a"}, "aa")] * 30},
    "regex": {"type": "Sequence", "normalizers": [replace({"Regex": "a?"}, "aaaaaaaaa")] * 9},
    "prepend": {"type": "Prepend", "prepend": "a" * 10_000_000},
    "pattern": replace({"Regex": "a|" * 100_000}, "b"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_normalizer_without_bounds_is_refused(tmp_path: Path, name: str):
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree(tmp_path) | {"normalizer": HOSTILE[name]}))
    with pytest.raises(TokenizerError, match="do not trust it") as error:
        Tokenizer.load(tmp_path)
    assert len(str(error.value)) < 400


def test_usual_replacements_are_read(tmp_path: Path):
    usual = [replace({"String": " "}, "\u2581"), replace({"String": "``"}, '"'), replace({"Regex": " {2,}"}, " ")]
    normalizer = {"type": "Sequence", "normalizers": [*usual, {"type": "Lowercase"}]}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tree(tmp_path) | {"normalizer": normalizer}))
    Tokenizer.load(tmp_path).encode("a  gift")
