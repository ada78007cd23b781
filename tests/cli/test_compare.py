"""`maskling compare` says of each model what the others can be held against, and marks the best."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from commands import Command
from maskling.evaluation.compare import short_names


def test_two_checkpoints_side_by_side(maskling: Command, here: Path):
    assert maskling("export", "runs/mine", "--step", "2", "--out", "two").code == 0
    said = maskling("compare", "runs/mine", "two", "--text", "books", "--passages", "40", "--rounds", "1")
    assert said.code == 0, said
    lines = {line[:24].strip(): line[24:].split() for line in said.out.splitlines() if line.startswith("  ")}
    assert lines[""] == ["mine", "two"]
    assert lines["loss per word"].count("*") == 1
    # Equal weights on disk: nobody is marked.
    assert "*" not in lines["weights on disk"]
    assert "measured now, on cpu" in said.out
    found = json.loads(
        maskling("compare", "runs/mine", "two", "--text", "books", "--passages", "40", "--rounds", "0", "--json").out
    )
    mine, two = found["sides"]
    assert {mine["behind"], two["behind"]} == {0.0, abs(mine["loss_per_word"] - two["loss_per_word"])} or (
        max(mine["behind"], two["behind"]) == pytest.approx(abs(mine["loss_per_word"] - two["loss_per_word"]))
    )
    assert mine["texts_per_second"] is None


def test_runs_compare_on_what_they_were_trained_on(maskling: Command, here: Path):
    said = maskling("compare", "runs/mine", "runs/mine/model", "--rounds", "0")
    assert said.code == 0, said
    assert "of a validation split of" in said.out
    shutil.move(here / "data", here / "elsewhere")
    assert "give text to compare on" in maskling("compare", "runs/mine", "runs/mine").complaint


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["runs/mine"], "give two or more models"),
        (["runs/mine", "runs/mine", "--text", "books", "--data", "data"], "not both"),
        (["runs/mine", "runs/mine", "--corpus.plain", "line"], "there is none; give it with --text"),
        (["runs/mine", "runs/mine", "--text", "books", "--passages", "0"], "--passages is 0"),
        (["runs/mine", "runs/mine", "--text", "books", "--rate", "2"], "rate is 2"),
        (["runs/mine", "nowhere", "--text", "books"], "there is no such folder"),
    ],
)
def test_what_cannot_be_compared_is_refused(maskling: Command, here: Path, words: list[str], complaint: str):
    assert complaint in maskling("compare", *words).complaint


def test_models_are_called_by_what_tells_them_apart():
    names = short_names((Path("runs/a/model"), Path("other/a"), Path("b"), Path("b")))
    assert names == ["runs/a", "other/a", "b (1)", "b (2)"]
    assert short_names((Path("runs/mine"), Path())) == ["mine", "."]
