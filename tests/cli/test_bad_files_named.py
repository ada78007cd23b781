"""Every verb that reads text names the files it could not read."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import Command


@pytest.mark.parametrize(
    "words",
    [
        ["tokenizer", "mixed", "--out", "tok", "--tokenizer.vocab-size", "300"],
        ["tokenizer", "extend", "runs/mine", "--text", "mixed", "--min-count", "1", "--count", "1", "--out", "more"],
        ["evaluate", "runs/mine", "mixed", "--examples", "2"],
        ["compare", "runs/mine", "runs/mine", "--text", "mixed", "--words", "12", "--passages", "3", "--rounds", "0"],
        ["search", "runs/mine", "mixed", "--query", "a fox"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_damaged_file_among_others_is_named(maskling: Command, here: Path, words: list[str]):
    (here / "books").rename(here / "mixed")
    (here / "mixed" / "zz.jsonl.gz").write_bytes(b"nothing of the kind")
    said = maskling(*words)
    assert said.code == 0, said
    assert [line for line in said.err.splitlines() if line.startswith("warning: ") and "zz.jsonl.gz" in line], said.err
