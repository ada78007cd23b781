"""Settings on a command line and in files: the same whichever way they are given, and every one of them shown."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commands import TRAIN, Command
from maskling.cli.options import split_settings
from maskling.config import flatten
from maskling.train.recipe import preset_names

WORD = st.text(min_size=1).filter(lambda word: not word.startswith("--"))


@given(before=st.lists(WORD), value=WORD, after=st.lists(WORD), equals=st.booleans())
def test_a_setting_is_separated_with_its_value_and_the_rest_stays(
    before: list[str], value: str, after: list[str], equals: bool
):
    said = [f"--train.steps={value}"] if equals else ["--train.steps", value]
    rest, pairs = split_settings([*before, *said, *after])
    assert rest == before + after
    assert pairs == (("train.steps", value),)


def test_a_setting_before_another_option_or_at_the_end_is_switched_on():
    words = ["--shards.keep-text", "--out", "x", "--corpus.clean.fix-mojibake"]
    assert split_settings(words) == (
        ["--out", "x"],
        (("shards.keep-text", "true"), ("corpus.clean.fix-mojibake", "true")),
    )


def test_what_follows_two_dashes_is_text():
    assert split_settings(["fill", "--", "--train.steps", "3"]) == (["fill", "--", "--train.steps", "3"], ())


def test_show_has_a_line_per_setting_with_its_value_and_origin(maskling: Command, tmp_path: Path):
    config = tmp_path / "mine.toml"
    config.write_text("[train]\nsteps = 77\nbatch_size = 9\n")
    words = ["train", "--show", "--preset", "bert-mini", "--config", config, "--train.batch-size", "12", "--seed", "4"]
    lines = {line.split()[0]: line.split(maxsplit=2)[1:] for line in maskling(*words).out.splitlines()}
    assert lines["train.steps"] == ["77", "mine.toml"]
    assert lines["train.batch_size"] == ["12", "--train.batch-size"]
    assert lines["seed"] == ["4", "--seed"]
    assert lines["model.hidden_size"] == ["256", "preset bert-mini"]
    assert lines["train.keep"] == ["2", "default"]
    values = flatten(json.loads(maskling(*words, "--json").out))
    assert set(lines) == set(values)


def test_show_tells_of_the_run_where_there_is_text(maskling: Command, here: Path):
    shown = maskling("train", "--show", "--data", "data", *TRAIN, "--train.steps", "3")
    assert (shown.code, "optimizer.lr" in shown.out) == (0, True)
    assert [line.split()[0] for line in shown.err.splitlines()] == ["model", "data", "unigram", "memory", "run"]
    assert shown.err.splitlines()[-1].startswith("run       3 steps")
    timed = maskling("train", "--show", "--data", "data", *TRAIN, "--budget", "5m")
    assert timed.err.splitlines()[-1] == "run       as many steps as fit into 5m"
    budgeted = maskling("train", "--show", "--data", "data", *TRAIN, "--budget", "5m", "--json").out.splitlines()
    assert json.loads(budgeted[1])["memory"] > 300e6
    (here / "data" / "manifest.json").unlink()
    assert maskling("train", "--show", "--data", "data").code == 2
    assert maskling("train", "--show", "--data", "not-yet").code == 0


@pytest.mark.parametrize("preset", preset_names())
def test_a_file_that_init_wrote_means_the_same_as_the_options_it_was_written_with(
    maskling: Command, tmp_path: Path, preset: str
):
    chosen = ["--preset", preset, "--train.steps", "55", "--masking.kind", "span", "--masking.stop", "0.3"]
    assert maskling("init", tmp_path / "a.toml", *chosen).code == 0
    from_file = maskling("train", "--show", "--json", "--config", tmp_path / "a.toml")
    assert from_file.code == 0
    assert json.loads(from_file.out) == json.loads(maskling("train", "--show", "--json", *chosen).out)


def test_every_setting_in_the_file_has_a_comment(maskling: Command, tmp_path: Path):
    assert maskling("init", tmp_path / "a.toml").code == 0
    lines = (tmp_path / "a.toml").read_text().splitlines()
    silent = [line for above, line in itertools.pairwise(lines) if " = " in line and above[:1] != "#"]
    assert all(line.startswith("kind = ") for line in silent)


def test_prepare_and_train_do_the_same_from_files_as_from_options(maskling: Command, here: Path):
    (here / "p.toml").write_text(
        "[tokenizer]\nvocab_size = 150\n[shards]\nvalidation_fraction = 0.2\n[system]\nworkers = 1\n"
    )
    said = maskling("prepare", "books", "--out", "data", "--config", "p.toml")
    assert said.code == 0
    assert "complete" in said.out  # no other settings than those it was prepared with
    words = ["--data", "data", *TRAIN, "--pairing.kind", "nsp", "--train.steps", "3"]
    assert maskling("init", "t.toml", *TRAIN, "--pairing.kind", "nsp", "--train.steps", "3").code == 0
    assert "already finished" in maskling("train", "--config", "t.toml", "--data", "data", "--out", "runs/mine").err
    assert "already finished" in maskling("train", *words, "--out", "runs/mine").err
