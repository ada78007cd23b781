"""A file of many texts: answers as for each alone, and how far it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from commands import Command
from maskling.cli import fill, score
from maskling.console import Console
from maskling.infer import embed
from maskling.infer.vector_file import VectorFile


@pytest.fixture(autouse=True)
def _talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Console.__init__, "__defaults__", (False, 0.0, None, None))


def test_masks_of_many_texts_are_filled_a_few_texts_at_a_time(
    maskling: Command, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"line {number} of [MASK] and {'very ' * (number % 3)}more" for number in range(7)]
    (here / "masks.txt").write_text("\n".join(texts))
    whole = maskling("fill", "runs/mine", "--file", "masks.txt")
    monkeypatch.setattr(fill, "_AT_ONCE", 3)
    parted = maskling("fill", "runs/mine", "--file", "masks.txt")
    assert parted.out == whole.out
    assert [line.split("%")[0].strip() for line in parted.err.splitlines()] == ["43", "86"]
    assert [line for line in parted.out.splitlines() if "[MASK]" in line] == texts


def test_many_texts_are_scored_a_few_at_a_time(maskling: Command, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "some.txt").write_text("".join(f"line {number} of words\n" for number in range(7)))
    whole = maskling("score", "runs/mine", "--file", "some.txt")
    monkeypatch.setattr(score, "_AT_ONCE", 3)
    parted = maskling("score", "runs/mine", "--file", "some.txt")
    assert [line.split() for line in parted.out.splitlines()] == [line.split() for line in whole.out.splitlines()]
    assert parted.err.splitlines()[-1] == whole.err.splitlines()[-1]
    embed = [int(line.split("%")[0]) for line in parted.err.splitlines() if "scoring" in line]
    assert embed == sorted(embed)
    assert max(embed) < 100


def test_embedding_many_texts_says_how_far_it_is(maskling: Command, here: Path) -> None:
    (here / "many.txt").write_text("".join(f"a line of words, number {number}\n" for number in range(3000)))
    said = maskling("embed", "runs/mine", "--file", "many.txt", "--out", "many.npy")
    embed = [int(line.split("%")[0]) for line in said.err.splitlines() if "embedded" in line]
    assert len(embed) > 1
    assert embed == sorted(embed)
    assert embed[-1] < 100
    assert np.load(here / "many.npy").shape[0] == 3000


@pytest.mark.parametrize(
    "words", [["inspect"], ["evaluate", "runs/mine"], ["compare", "runs/mine", "runs/mine", "--rounds", "0", "--text"]]
)
def test_reading_text_says_how_far_it_is(maskling: Command, here: Path, words: list[str]) -> None:
    said = maskling(*words, "books")
    assert said.code == 0, said
    embed = [int(line.split("%")[0]) for line in said.err.splitlines() if line.endswith("reading")]
    assert len(embed) > 2
    assert embed == sorted(embed)
    assert embed[-1] == 100


def test_what_is_asked_is_checked_before_text_is_read(maskling: Command, here: Path) -> None:
    (here / "empty.txt").write_text("")
    assert "no pairing 'nps'" in maskling("evaluate", "runs/mine", "empty.txt", "--pairing", "nps").complaint
    assert "no document could be read" in maskling("evaluate", "runs/mine", "empty.txt").complaint


def test_a_stopped_embedding_goes_on(maskling: Command, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "ten.txt").write_text("".join(f"{'a ' * number * 9} line\n" for number in range(10)))
    words = ("embed", "runs/mine", "--file", "ten.txt", "--out")
    whole = maskling(*words, "whole.npy")
    monkeypatch.setattr(embed, "CHUNK_TEXTS", 3)
    add = VectorFile.add

    def added(self: VectorFile, vectors: np.ndarray, cut: int) -> None:
        if self.done.texts == 6:
            raise KeyboardInterrupt
        add(self, vectors, cut)

    with monkeypatch.context() as patched:
        patched.setattr(VectorFile, "add", added)
        stopped = maskling(*words, "parted.npy")
    assert stopped.code == 130
    assert "run the same command again to resume" in stopped.err
    assert not (here / "parted.npy").exists()
    parted = maskling(*words, "parted.npy")
    assert parted.err.startswith("6 of 10 vectors were there\n 90%  embedded 9 of 10 texts\n")
    assert "of 10 texts longer than" in whole.err
    assert parted.err.splitlines()[-2] == whole.err.splitlines()[-2]
    np.testing.assert_allclose(np.load(here / "parted.npy"), np.load(here / "whole.npy"), atol=1e-6)
    assert sorted(path.name for path in here.glob("*.npy*")) == ["parted.npy", "whole.npy"]
