"""Fixtures: a small corpus, prepared and trained on for three steps, and a runner of commands that captures output."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import tiny_corpus
from commands import PREPARE, TRAIN, Command, Said
from maskling.cli.main import run


@pytest.fixture
def maskling(capsys: pytest.CaptureFixture[str]) -> Command:
    """A runner of commands in this process: maskling('fill', 'runs/mine', 'a [MASK]')."""

    def command(*words: object) -> Said:
        capsys.readouterr()
        code = run([str(word) for word in words])
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    return command


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A read-only folder with books/, data/ and runs/mine."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "books").mkdir()
    for number, text in enumerate(tiny_corpus.texts(60, sentences=9)):
        (folder / "books" / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run(["prepare", "books", "--out", "data", *PREPARE]) == 0
        train = ["train", "--data", "data", "--out", "runs/mine", *TRAIN, "--pairing.kind", "nsp"]
        assert run([*train, "--train.steps", "3"]) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A writable copy of `made`, as the current folder."""
    folder = tmp_path / "here"
    shutil.copytree(made, folder)
    monkeypatch.chdir(folder)
    return folder
