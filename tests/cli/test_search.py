"""`maskling search`: what a person sees, and what is kept between two searches."""

from __future__ import annotations

import json
from pathlib import Path

from commands import Command


def test_texts_are_embedded_once_and_found(maskling: Command, here: Path):
    Path("lines.txt").write_text("kalo miner to\n\nvaxi bru pen\nkalo kalo miner sulva\n")
    words = ["search", "runs/mine", "lines.txt", "--query", "vaxi bru pen", "--query", "kalo", "--top-k", "2"]
    first = maskling(*words)
    assert first.code == 0, first
    assert "kept in lines.txt.index" in first.err
    heading, best, *_ = first.out.splitlines()
    assert heading == "vaxi bru pen"
    assert best.split(maxsplit=2) == ["1.000", "lines.txt:2", "vaxi bru pen"]
    again = maskling(*words, "--json")
    assert "kept in" not in again.err
    asked = [json.loads(line) for line in again.out.splitlines()]
    assert [one["query"] for one in asked] == ["vaxi bru pen", "kalo"]
    assert [len(one["hits"]) for one in asked] == [2, 2]
    assert asked[0]["hits"][0] | {"score": 1} == {"id": "lines.txt:2", "text": "vaxi bru pen", "score": 1}
    Path("queries.txt").write_text("vaxi bru pen\nkalo\n")
    alone = maskling("search", "runs/mine", "--index", "lines.txt.index", "--queries", "queries.txt", "--top-k", "2")
    assert alone.out == first.out


def test_mistakes_are_said_before_the_work(maskling: Command, here: Path):
    assert "give the text to search for" in maskling("search", "runs/mine", "books").complaint
    both = maskling("search", "runs/mine", "books", "--query", "a", "--queries", "b")
    assert "give the text to search for" in both.complaint
    assert "give the files to search" in maskling("search", "runs/mine", "--query", "a").complaint
    assert "--index FOLDER" in maskling("search", "runs/mine", "books", "data", "--query", "a").complaint
    assert "--top-k is 0" in maskling("search", "runs/mine", "books", "--query", "a", "--top-k", "0").complaint
    assert "no such file" in maskling("search", "runs/mine", "none.txt", "--query", "a").complaint
    assert "holds no index" in maskling("search", "runs/mine", "--index", "none", "--query", "a").complaint
    taken = maskling("search", "runs/mine", "books", "--index", "data", "--query", "a")
    assert "other things than an index" in taken.complaint


def test_a_long_text_is_shown_on_one_line_and_kept_whole(maskling: Command, here: Path):
    (here / "long").mkdir()
    (here / "long" / "page.md").write_text(
        "# A fox\n\n" + "It ran over the hill and back again. " * 40, encoding="utf-8"
    )
    words = ["search", "runs/mine", "long", "--query", "a fox"]
    _, hit = maskling(*words).out.splitlines()
    assert "A fox It ran over" in hit
    assert hit.endswith("…")
    assert len(hit) < 400
    (found,) = map(json.loads, maskling(*words, "--json").out.splitlines())
    assert len(found["hits"][0]["text"]) > 1000
