"""With --json, stdout is JSON and nothing else, whatever a command has to say besides."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from commands import PREPARE, TRAIN, Command

COMMANDS = {
    "prepare": ["prepare", "books", "--out", "again", *PREPARE],
    "prepare-show": ["prepare", "--show"],
    "train-show": ["train", "--show"],
    "train": ["train", "--data", "data", "--out", "runs/other", *TRAIN, "--train.steps", "2"],
    "evaluate": ["evaluate", "runs/mine"],
    "evaluate-text": ["evaluate", "runs/mine", "books/00.txt"],
    "fill": ["fill", "runs/mine", "a [MASK] b", "[MASK] and [MASK]"],
    "fill-joint": ["fill", "runs/mine", "[MASK] and [MASK]", "--joint"],
    "fill-cut": ["fill", "runs/mine", f"{'word ' * 100}[MASK]"],
    "embed": ["embed", "runs/mine", "a", "b"],
    "embed-out": ["embed", "runs/mine", "a", "--out", "a.npy"],
    "embed-cut": ["embed", "runs/mine", "word " * 100],
    "inspect-text": ["inspect", "books"],
    "inspect-data": ["inspect", "data", "--verify"],
    "inspect-example": ["inspect", "data", "--example", "3"],
    "inspect-run": ["inspect", "runs/mine"],
    "inspect-run-example": ["inspect", "runs/mine", "--example", "3"],
    "inspect-checkpoint": ["inspect", "runs/mine/checkpoints/step-000003"],
    "inspect-model": ["inspect", "runs/mine/model"],
    "inspect-tokenizer": ["inspect", "data/tokenizer", "--text", "hello [MASK]"],
    "export": ["export", "runs/mine", "--out", "exported"],
    "tokenizer": ["tokenizer", "books", "--out", "tok", "--tokenizer.vocab-size", "90"],
    "tokenizer-show": ["tokenizer", "--show"],
    "config": ["config", "train.toml", "--preset", "small"],
    "presets": ["presets"],
    "preset": ["presets", "small"],
}


def strictly(constant: str) -> Any:
    raise AssertionError(f"{constant} is no JSON")


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_stdout_is_json(maskling: Command, here: Path, words: list[str]):
    said = maskling(*words, "--json")
    assert said.code == 0, said
    found = [json.loads(line, parse_constant=strictly) for line in said.out.splitlines()]
    assert found
    assert all(isinstance(one, dict) for one in found)


def test_a_run_tells_of_each_event(maskling: Command, here: Path):
    said = maskling(*COMMANDS["train"], "--train.log-every", "1", "--json")
    events = [json.loads(line) for line in said.out.splitlines()]
    names = [event["event"] for event in events]
    assert names[0] == "started"
    assert names[-1] == "finished"
    assert [event["step"] for event in events if event["event"] == "step"] == [1, 2]
    assert all(event["measured"]["mlm_loss"] > 0 for event in events if event["event"] == "evaluated")


def test_one_line_of_json_for_each_text_in_order(maskling: Command, here: Path):
    said = maskling("embed", "runs/mine", "one text", "another", "--normalize", "--json")
    found = [json.loads(line) for line in said.out.splitlines()]
    assert [one["text"] for one in found] == ["one text", "another"]
    assert all(math.isclose(sum(x * x for x in one["vector"]), 1, rel_tol=1e-5) for one in found)


def test_errors_leave_stdout_empty(maskling: Command, here: Path):
    said = maskling("fill", "nowhere", "[MASK]", "--json")
    assert said.out == ""
    assert said.complaint
