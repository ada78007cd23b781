"""Every command of the README runs, with smaller settings."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from maskling.cli.main import run

ROOT = Path(__file__).parents[2]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(readme: str) -> list[list[str]]:
    """The maskling commands of a README's shell blocks, in order, as argument lists."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    lines = [line for block in SHELL.findall(text) for line in block.splitlines()]
    return [shlex.split(part)[1:] for line in lines for part in line.split(" && ") if part.startswith("maskling ")]


def smaller(words: list[str]) -> list[str]:
    """The same command with three small steps instead of minutes."""
    few = ["--train.steps", "3", "--train.batch-size", "4", "--system.threads", "1"]
    for option, more in (("--budget", ["--evaluate.examples", "20"]), ("--epochs", [])):
        if option in words:
            place = words.index(option)
            return words[:place] + words[place + 2 :] + few + more
    return words


def on_shared_data(words: list[str]) -> bool:
    return any("shared/data" in word or word.split("/")[0] in ("english", "chinese") for word in words)


def test_the_first_session_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    session = [words for words in commands("README.md") if not on_shared_data(words)]
    assert [words[0] for words in session] == ["prepare", "train", "fill", "score", "generate", "embed"]
    for words in session:
        assert run(smaller(words)) == 0, words
        if words[0] == "fill":
            assert "if the index is out of range." in capsys.readouterr().out


@pytest.mark.slow
def test_the_lines_for_english_and_chinese_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared_data: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(shared_data)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    session = [words for words in commands("README.md") if on_shared_data(words)]
    assert [words[0] for words in session] == ["prepare", "train", "finetune", "predict", "prepare", "train"]
    for words in session:
        assert run(smaller(words)) == 0, words


def test_both_languages_show_the_same_commands():
    assert commands("README.zh-CN.md") == commands("README.md")
