"""Every command of the READMEs runs, with smaller settings, on texts made here."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest

from maskling.cli.main import run

ROOT = Path(__file__).parents[2]
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
ENGLISH = ("the", "north", "wind", "and", "sun", "argued", "who", "was", "stronger", "of", "two", "when", "came")
CHINESE = tuple("软件包安装系统管理员可以使用命令更新文件目录服务器网络配置")


def commands(readme: str) -> list[list[str]]:
    """The maskling commands of a README's shell blocks, in order, as argument lists."""
    text = (ROOT / readme).read_text(encoding="utf-8")
    lines = [line for block in SHELL.findall(text) for line in block.splitlines()]
    return [shlex.split(part)[1:] for line in lines for part in line.split(" && ") if part.startswith("maskling ")]


def smaller(words: list[str]) -> list[str]:
    """The same command with three small steps instead of minutes."""
    if words[0] not in ("train", "finetune"):
        return words
    kept = list(words)
    for option in ("--budget", "--epochs", "--train.steps", "--train.batch-size", "--preset"):
        if option in kept:
            place = kept.index(option)
            del kept[place : place + 2]
    few = ["--train.steps", "3", "--train.batch-size", "4", "--system.threads", "1"]
    return [*kept, *few, *(["--preset", "tiny", "--evaluate.examples", "20"] if words[0] == "train" else [])]


def texts(folder: Path, words: tuple[str, ...], between: str) -> None:
    """Write a folder my-texts, and labelled examples beside it."""
    draw = random.Random(5)
    (folder / "my-texts").mkdir()
    lines = []
    for number in range(40):
        sentences = [between.join(draw.choices(words, k=15)) + ("。" if not between else ".") for _ in range(12)]
        (folder / "my-texts" / f"{number}.txt").write_text(" ".join(sentences), encoding="utf-8")
        lines.append(json.dumps({"text": sentences[0], "label": number % 2}, ensure_ascii=False))
    for name, part in (("train", lines[:30]), ("dev", lines[30:]), ("new", lines[:5])):
        (folder / f"{name}.jsonl").write_text("\n".join(part), encoding="utf-8")


@pytest.mark.timeout(900)  # a dozen commands, which take minutes on a busy machine
@pytest.mark.parametrize(
    ("readme", "words", "between"),
    [("README.md", ENGLISH, " "), ("README.zh-CN.md", CHINESE, "")],
    ids=["English", "Chinese"],
)
def test_the_sessions_run(
    readme: str,
    words: tuple[str, ...],
    between: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    texts(tmp_path, words, between)
    session = [line for line in commands(readme) if line[0] != "serve"]
    seen = {line[0] for line in session}
    assert {"prepare", "train", "fill", "inspect", "evaluate", "finetune", "predict"} <= seen
    for line in session:
        assert run(smaller(line)) == 0, line
        if line[0] == "fill":
            shown = capsys.readouterr().out
            assert all(text in shown for text in line if "[MASK]" in text), line
    (example,) = PYTHON.findall((ROOT / readme).read_text(encoding="utf-8"))
    exec(example, {})
    assert len((tmp_path / "labels.tsv").read_text(encoding="utf-8").splitlines()) >= 5


def test_a_reader_has_every_file_that_is_named() -> None:
    for readme in ("README.md", "README.zh-CN.md"):
        for line in commands(readme):
            assert not any(".." in word for word in line), line
