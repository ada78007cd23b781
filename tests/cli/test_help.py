"""Help fits a terminal, lists every option, and ends with an example that works."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import zstandard

from commands import TRAIN, Command
from maskling.cli import VERBS
from maskling.exporting.cards import TaskFacts
from maskling.exporting.folder import export_task_model
from maskling.model.tasks.folder import build_task_model
from maskling.tokenizer.tokenizer import Tokenizer


def example_of(help_text: str) -> list[str]:
    """Return the words of the example at the end of a help text, without 'maskling'."""
    *_, mark, example = help_text.rstrip("\n").split("\n")
    assert mark == "Example:"
    program, *words = shlex.split(example)
    assert program == "maskling"
    return words


def test_the_overview_has_a_line_per_verb_and_is_the_default(maskling: Command):
    said = maskling("--help")
    assert said.code == 0
    assert said.err == ""
    lines = said.out.splitlines()
    assert [verb for line in lines for verb in VERBS if line.startswith(f"  {verb}  ")] == list(VERBS)
    assert maskling("-h") == maskling() == maskling("help") == said


@pytest.mark.parametrize("verb", VERBS)
def test_help_fits_a_terminal_of_80_columns(maskling: Command, verb: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    said = maskling(verb, "--help")
    assert said.code == 0
    *lines, _ = said.out.splitlines()  # an example is not wrapped, so that it can be copied
    assert max(map(len, lines)) <= 80
    assert "[default" not in said.out
    assert maskling("help", verb) == maskling(verb, "-h") == said


def test_a_very_narrow_terminal_works(maskling: Command, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "5")
    assert maskling("train", "--help").code == 0


def test_help_for_one_option_among_others_is_still_help(maskling: Command):
    assert maskling("train", "--data", "nowhere", "--help").code == 0


# Training takes half an hour, and serving does not end; see below, and test_serve.py.
@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in ("train", "serve")])
def test_the_example_that_ends_help_works(maskling: Command, here: Path, verb: str):
    words = example_of(maskling(verb, "--help").out)
    if verb == "prepare":
        (here / "data").rename(here / "other")
        (here / "notes.jsonl.zst").write_bytes(zstandard.compress(b'{"text": "A note that is long enough to keep."}\n'))
    if verb in ("finetune", "predict"):
        labelled = "".join(f'{{"text": "a text number {i}", "label": "{i % 2}"}}\n' for i in range(6))
        for name in ("train", "dev", "reviews"):
            (here / f"{name}.jsonl").write_text(labelled)
    if verb == "predict":
        model = build_task_model(here / "runs" / "mine" / "model", "classify", ("0", "1"), seed=0).model
        export_task_model(model, Tokenizer.load(here / "data"), here / "runs" / "classifier", TaskFacts())
    said = maskling(*words)
    assert said.code == 0, said
    assert "error" not in said.err


def test_the_example_of_serve_is_the_command_that_is_tested(maskling: Command):
    assert example_of(maskling("serve", "--help").out) == ["serve", "runs/mine"]


def test_the_example_of_train_works_with_a_smaller_model_and_budget(maskling: Command, here: Path):
    words = example_of(maskling("train", "--help").out)
    assert words == ["train", "--preset", "small", "--data", "data/", "--out", "runs/mine", "--budget", "30m"]
    assert maskling("train", "--preset", "small", "--budget", "30m", "--show").code == 0
    (here / "runs" / "mine").rename(here / "runs" / "before")
    said = maskling("train", "--data", "data/", "--out", "runs/mine", "--budget", "2s", *TRAIN)
    assert said.code == 0, said
    assert (here / "runs" / "mine" / "model" / "config.json").is_file()


def test_the_version_is_printed(maskling: Command):
    from maskling import __version__

    assert maskling("--version").out == f"{__version__}\n"
