"""What a new user types: aliases of settings, presets, short options, quiet and verbose, budgets, hints."""

from __future__ import annotations

import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from commands import TRAIN, Command
from maskling.cli import GROUPS, VERBS
from maskling.cli.main import split_verbosity, verb_function
from maskling.cli.run_report import RunReport
from maskling.console import Console, with_verbosity
from maskling.train.events import Measuring, Started, Step
from maskling.train.recipe import preset_names


def test_the_overview_lists_every_verb_with_the_first_sentence_of_its_help():
    listed = {verb: text for group in GROUPS.values() for verb, text in group.items()}
    assert list(listed) == list(VERBS)
    for verb, text in listed.items():
        assert " ".join((verb_function(verb).__doc__ or "").split("\n\n")[0].split()) == f"{text}."


def test_the_overview_answers_what_people_search_for(maskling: Command):
    overview = maskling("--help").out.lower()
    for wanted in ("classif", "ner", "embedding", "preset", "onnx", "meaning"):
        assert wanted in overview


def test_aliases_of_train_are_the_settings_of_the_same_meaning(maskling: Command):
    typed = maskling("train", "--lr", "0.003", "--epochs", "2.5", "--batch-size", "7", "--show", "--json")
    settings = json.loads(typed.out)
    assert settings["optimizer"]["lr"] == 0.003
    assert (settings["train"]["epochs"], settings["train"]["batch_size"]) == (2.5, 7)
    assert json.loads(maskling("train", "--steps", "9", "--show", "--json").out)["train"]["steps"] == 9
    tuned = json.loads(maskling("finetune", "--steps", "9", "--batch_size", "7", "--show", "--json").out)
    assert (tuned["train"]["steps"], tuned["train"]["batch_size"]) == (9, 7)


def test_epochs_set_the_steps_from_the_data_and_the_run_resumes(maskling: Command, here: Path):
    words = ["train", "--data", "data", "--out", "runs/e", *TRAIN, "--epochs", "1.5"]
    said = maskling(*words, "--json")
    assert said.code == 0, said
    events = [json.loads(line) for line in said.out.splitlines()]
    started = next(event for event in events if event["event"] == "started")
    passes = started["steps"] * started["examples_per_step"] / started["examples_per_epoch"]
    one_step = started["examples_per_step"] / started["examples_per_epoch"]
    assert 1.5 <= passes < 1.5 + one_step
    written = tomllib.loads((here / "runs" / "e" / "config.toml").read_text())
    assert (written["train"]["steps"], written["train"]["epochs"]) == (started["steps"], 1.5)
    assert "had already finished" in maskling(*words).err
    # The same run, given by its steps.
    by_steps = maskling(*words[:-2], "--steps", started["steps"])
    assert "had already finished" in by_steps.err, by_steps


def test_a_run_by_steps_resumes_whatever_version_began_it(maskling: Command, here: Path):
    path = here / "runs" / "mine" / "config.toml"
    text = path.read_text()
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("epochs")) + "\n")
    said = maskling("train", "--data", "data", "--out", "runs/mine", *TRAIN, "--pairing.kind", "nsp", "--steps", "3")
    assert "had already finished" in said.err, said


def test_presets_are_listed_with_size_memory_and_purpose(maskling: Command, monkeypatch: pytest.MonkeyPatch):
    for columns in (70, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        said = maskling("presets")
        assert said.code == 0
        assert max(map(len, said.out.splitlines())) <= columns
        assert all(name in said.out for name in preset_names())
    facts = {one["name"]: one for one in map(json.loads, maskling("presets", "--json").out.splitlines())}
    assert set(facts) == set(preset_names())
    # BERT base: 110 M (Devlin et al. 2019, section 3), ModernBERT base: 149 M at 50,368 tokens (Warner et al. 2024).
    assert facts["bert-base"]["parameters"] == pytest.approx(110e6, rel=0.02)
    larger = json.loads(maskling("presets", "modern-base", "--vocab-size", "50368", "--json").out)
    assert larger["parameters"] == pytest.approx(149e6, rel=0.02)
    assert all(one["about"] and one["memory_bytes"] > 4 * 4 * one["parameters"] for one in facts.values())
    assert 'extends = "modern-base"' in maskling("presets", "small").out


def test_the_former_name_of_config_works(maskling: Command, here: Path):
    assert maskling("init", "a.toml", "--preset", "tiny").code == 0
    assert maskling("config", "b.toml", "--preset", "tiny").code == 0
    assert (here / "a.toml").read_text() == (here / "b.toml").read_text()


def test_short_options(maskling: Command, here: Path):
    assert maskling("-V") == maskling("--version")
    assert maskling("embed", "runs/mine", "a text", "-o", "v.npy").code == 0
    assert (here / "v.npy").is_file()
    said = maskling("fill", "runs/mine", "a [MASK]", "-k", "2", "--json")
    assert len(json.loads(said.out)["masks"][0]) == 2
    assert "no option -k" in maskling("embed", "runs/mine", "a", "-k", "2").complaint


def test_quiet_leaves_results_warnings_and_errors(maskling: Command, here: Path):
    said = maskling("--quiet", "embed", "runs/mine", "one " * 100, "--out", "v.npy")
    assert said.code == 0
    assert said.err.splitlines() == ["warning: 1 of 1 text longer than 32 tokens and cut"]
    assert maskling("fill", "runs/mine", "a [MASK]", "-q").out
    assert maskling("fill", "nowhere", "a [MASK]", "-q").complaint
    assert split_verbosity(["fill", "m", "--", "-q"]) == (["fill", "m", "--", "-q"], "normal")


def test_verbose_shows_where_an_error_came_from(maskling: Command, here: Path):
    said = maskling("fill", "nowhere", "a [MASK]", "-v")
    assert said.code == 2
    assert "Traceback" in said.err
    assert said.err.splitlines()[-1] == f"error: {maskling('fill', 'nowhere', 'a [MASK]').complaint}"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def shown(no_color: str | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what a terminal receives."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    terminal = Terminal()
    console = Console(err=terminal, out=terminal)
    console.progress("reading", 5, 10)
    console.note("loss 1   best so far", good="best so far")
    console.warn("careful")
    console.result("a result")
    console.error("it failed")
    return terminal.getvalue()


def test_a_terminal_has_colours_unless_no_color_is_set(monkeypatch: pytest.MonkeyPatch):
    coloured = shown(None, monkeypatch)
    assert "\x1b[1;31merror:\x1b[0m it failed" in coloured
    assert "\x1b[33mwarning:\x1b[0m careful" in coloured
    assert "\x1b[32mbest so far\x1b[0m" in coloured
    assert "\na result\n" in coloured.replace("\r\x1b[K", "\n")
    assert shown("", monkeypatch) == coloured  # an empty value does not count, as no-color.org says
    plain = shown("1", monkeypatch)
    assert "\x1b[3" not in plain
    assert "\x1b[1" not in plain


STARTED = Started("cpu", 1000, 1000, None, 100, 10, 10_000, None, None, source="data")
STEP = Step(1, 10_000, 5.0, {"mlm": 5.0}, 1e-3, {}, 100.0, 0.9, 1.0, 12_000.0)


def said_of(*events: Measuring | Started | Step) -> str:
    log = io.StringIO()
    report = RunReport(Console(err=log), 10, lambda _: "")
    for event in events:
        report.show(event)
    return log.getvalue()


def test_a_long_run_without_a_budget_is_announced_once_with_what_to_do():
    steps = [replace(STEP, step=step) for step in range(1, 40)]
    said = said_of(STARTED, *steps)
    assert said.count("these 10,000 steps take about 3h 20m; to set the time instead, press Ctrl-C and give") == 1
    assert "from data" in said
    for quiet in (replace(STARTED, budget="4h"), replace(STARTED, resumed_from=5)):
        assert "take about" not in said_of(quiet, *steps)
    assert "take about" not in said_of(STARTED, *(replace(step, seconds_left=1700.0) for step in steps))


def test_a_budget_of_seconds_is_warned_of():
    assert "warning: 5s is enough to see that everything works" in said_of(Measuring("5s", 0.1))
    assert "warning" not in said_of(Measuring("1m", 1.0))


def test_verbosity_is_restored():
    with with_verbosity("quiet"):
        assert Console.verbosity == "quiet"
    assert Console.verbosity == "normal"
