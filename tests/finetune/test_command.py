"""`maskling finetune`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maskling.cli.main import run


def typed(models: dict[str, Path], files: dict[str, Path], out: Path, *more: str) -> list[str]:
    return [
        "finetune", str(models["modern"]), "--task", "tag", "--train", str(files["tag"]), "--dev", str(files["tag"]),
        "--test", str(files["tag"]), "--out", str(out), "--train.steps", "3", "--train.evaluate-every", "2",
        "--train.batch-size", "8", "--system.device", "cpu", "--system.threads", "1", *more,
    ]  # fmt: skip


def test_numbers_of_dev_and_test_are_told_and_the_run_can_be_looked_at(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run")) == 0
    said = capsys.readouterr().err
    assert "dev: tag.conll, 40 records" in said
    assert "test: tag.conll, 40 records" in said
    assert "best held-out f1" in said
    assert run(["inspect", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert "task        tag" in shown
    assert "precision" in shown


def test_json_holds_every_event(models, files, tmp_path: Path, capsys):
    assert run(typed(models, files, tmp_path / "run", "--json", "--from-scratch")) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [event["event"] for event in events]
    assert names.count("judged") == 2
    assert names[-1] == "finished"
    assert all("f1" in event["measured"] for event in events if event["event"] in ("judged", "evaluated"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "tagg"], "did you mean 'tag'"),
        (["--train.epochs", "2"], "train.steps says how long the run is"),
        (["--train", "nowhere.conll"], "nowhere.conll"),
    ],
)
def test_mistakes_end_with_2_and_one_line(models, files, tmp_path: Path, capsys, words: list[str], said: str):
    line = typed(models, files, tmp_path / "run")
    for name, value in zip(words[::2], words[1::2], strict=True):
        if name in line:
            line[line.index(name) + 1] = value
        else:
            line += [name, value]
    assert run(line) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "model").exists()
