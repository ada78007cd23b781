"""A tokenizer.json that would make gigabytes of a short text is refused before it sees one."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models

import small_models
from maskling.errors import TokenizerError
from maskling.tokenizer import library
from maskling.tokenizer.library import library_from_json, library_to_json
from maskling.tokenizer.normalization import Normalization, as_json, unicode_normalizer
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
    "looks around": {"type": "Sequence", "normalizers": [replace({"Regex": r"(?<=\p{L})(?!\d)"}, "aaa")] * 5},
    "table": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(8) + b"a" * 100 + b"\0").decode()},
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


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("dotless", [False, True])
@pytest.mark.parametrize("keep_spaces", [False, True])
@pytest.mark.parametrize("kind", ["wordpiece", "unigram", "bpe", "characters"])
def test_the_steps_of_a_new_tokenizer_are_within_the_bounds(kind: str, keep_spaces: bool, dotless: bool, lowercase: bool):
    choices = Normalization(kind, lowercase, dotless, True, kind == "wordpiece", keep_spaces)
    normalizer = as_json(unicode_normalizer(choices))
    library_from_json(library_to_json(tokenizers.Tokenizer(models.WordLevel())) | {"normalizer": normalizer}, "it")


@pytest.mark.parametrize(
    ("pattern", "sure"),
    [
        ("a", True),
        ("a*", False),
        (" ?(?:\r\n|[\n]) ?", True),
        (r"(?<=a)", False),
        (r"(?<!\p{L})b", True),
        (r"\b", False),
        (r"\bx", True),
        (r"^", False),
        (r"\A +| +\z", True),
        (r"[^\p{N}\s]{2,}", True),
        (r"a|", False),
        (r"(?i)(?=a)", False),
        (r"(a?)\1", False),
        (r"(", False),
    ],
)
def test_a_pattern_that_may_match_nothing_is_known(pattern: str, sure: bool):
    assert library._matches_something(pattern) is sure
