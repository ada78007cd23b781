"""What the verbs that score, write and look inside say on the command line."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from commands import Command

PAIRS = '{"sentence_good": "A dog sees it.", "sentence_bad": "A dogs see it.", "UID": "agree", "field": "syntax"}\n'


def test_scores_are_a_table_and_json(maskling: Command, here: Path, monkeypatch: pytest.MonkeyPatch):
    said = maskling("score", "runs/mine", "one text", "another text here")
    head, *rows = said.out.splitlines()
    assert head.split() == ["log", "p", "perplexity", "text"]
    assert [row.split(maxsplit=2)[2] for row in rows] == ["one text", "another text here"]
    assert "2 texts: perplexity" in said.err
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one text\n\nanother text here\n")))
    read = maskling("score", "runs/mine", "-", "--json", "--per", "word")
    found = [json.loads(line) for line in read.out.splitlines()]
    assert [f"{one['total']:.3f}" for one in found] == [row.split()[0] for row in rows]
    for one in found:
        assert sum(word["log_probability"] for word in one["words"]) == pytest.approx(one["total"])
    assert "1 empty line skipped" in read.err
    tokens = maskling("score", "runs/mine", "one text", "--per", "token", "--method", "within-word-l2r", "--json")
    assert json.loads(tokens.out)["num_tokens"] == len(json.loads(tokens.out)["tokens"])
    assert "longer than" in maskling("score", "runs/mine", "a word " * 60).err
    assert "unknown to this vocabulary" in maskling("score", "runs/mine", "one ☃").err


def test_pairs_are_judged_with_a_table_and_json(maskling: Command, here: Path):
    Path("agree.jsonl").write_text(PAIRS * 3)
    Path("own.tsv").write_text("A dog.\tA dog.\n")
    said = maskling("evaluate", "runs/mine", "--pairs", "agree.jsonl", "own.tsv")
    assert said.code == 0
    assert [line.split()[0] for line in said.out.splitlines()[:3]] == ["paradigm", "agree", "own"]
    assert "over 2 paradigms, 4 pairs; 1 tie counted as one half" in said.out
    found = json.loads(maskling("evaluate", "runs/mine", "--pairs", "agree.jsonl", "own.tsv", "--json").out)
    assert [one["name"] for one in found["paradigms"]] == ["agree", "own"]
    assert found["paradigms"][1]["accuracy"] == 0.5
    assert found["macro_average"] == sum(one["accuracy"] for one in found["paradigms"]) / 2
    assert found["fields"][0]["name"] == "syntax"
    assert "leave out text" in maskling("evaluate", "runs/mine", "books", "--pairs", "own.tsv").complaint
    assert "no such file" in maskling("evaluate", "runs/mine", "--pairs", "nowhere.jsonl").complaint


def test_texts_are_written_and_repeat(maskling: Command, here: Path):
    words = ("generate", "runs/mine", "The dog [MASK] it.", "--length", "4", "--count", "3", "--seed", "5")
    lines = maskling(*words).out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("The dog") and line.endswith(" it.") for line in lines)
    found = [json.loads(line) for line in maskling(*words, "--json").out.splitlines()]
    assert [one["text"] for one in found] == lines
    assert all(len(one["tokens"]) == 4 and one["log_probability"] < 0 for one in found)
    assert maskling("generate", "runs/mine", "--length", "6").code == 0
    assert "this model reads 32" in maskling("generate", "runs/mine", "--length", "31").complaint
    assert "order" in maskling("generate", "runs/mine", "--order", "up").complaint


def test_layers_are_pooled_and_maps_shown(maskling: Command, here: Path):
    first, last = (maskling("embed", "runs/mine", "a text", "--layer", layer).out for layer in (0, -1))
    assert first != last == maskling("embed", "runs/mine", "a text").out
    assert "layers 1 to 2" in maskling("embed", "runs/mine", "a text", "--layer", "3").complaint
    assert "longer than" in maskling("attention", "runs/mine", "a word " * 60).err
