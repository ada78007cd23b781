"""Completion: candidates come from the verbs' own parameters and settings, and the shells' scripts ask for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from commands import Command
from maskling.cli import VERBS
from maskling.cli.guidance.completion import candidates
from maskling.train.recipe import preset_names


def words(line: str) -> list[str]:
    """Return the candidates for the last word of a line; it is empty if the line ends in a space."""
    return [word for word, _ in candidates(line.split(" "))]


def test_verbs_options_settings_and_values_are_completed():
    assert words("") == sorted(["--help", "--version", *(verb for verb in VERBS if " " not in verb)])
    assert words("to") == ["tokenizer"]
    assert words("tokenizer ") == ["extend"]
    assert words("train --pre") == ["--preset"]
    assert words("train --preset ") == preset_names()
    assert words("-q train --preset modern-m") == ["modern-mini"]
    assert words("embed m --pooling=c") == ["--pooling=cls"]
    assert words("embed m --pooling = c") == ["cls"]
    assert words("finetune m --task a") == ["answer"]
    assert words("train --mask") == ["--masking."]
    assert words("train --masking.ki") == ["--masking.kind"]
    assert words("train --masking.kind ") == ["bert2018", "ngram", "span", "token", "word"]
    assert words("train --data.verify ") == ["false", "true"]
    assert words("embed m --corpus.text") == ["--corpus.text-field"]
    assert "--columns.text" in words("predict m --columns.")
    assert {"-o", "--out"} <= set(words("embed m -"))


@pytest.mark.parametrize("line", ["train --data ", "fill m --file ", "fill m ", "no-such-verb ", "train --nonsense "])
def test_where_a_file_or_a_text_is_due_the_shell_completes(line: str):
    assert words(line) == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_candidates(verb: str):
    assert "--help" in words(f"{verb} -")


def test_the_output_has_the_form_of_each_shell(maskling: Command):
    assert maskling("completion", "bash", "--", "train", "--pre").out == "--preset\n"
    assert maskling("completion", "zsh", "--", "train", "--pre").out.startswith("--preset:named settings")
    assert maskling("completion", "fish", "--", "train", "--pre").out.startswith("--preset\tnamed settings")


@pytest.fixture
def on_path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `maskling` is a command."""
    script = tmp_path / "bin" / "maskling"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m maskling "$@"\n')
    script.chmod(0o755)
    return {**os.environ, "PATH": f"{script.parent}:{os.environ['PATH']}"}


_BASH = """
eval "$(maskling completion bash)"
COMP_WORDS=(maskling train --preset modern-s); COMP_CWORD=3; COMPREPLY=()
_maskling; echo "${COMPREPLY[@]}"
"""
_FISH = 'source (maskling completion fish | psub); complete -C "maskling train --preset modern-s"'


@pytest.mark.parametrize(("shell", "script"), [("bash", _BASH), ("fish", _FISH)])
def test_the_script_completes_in_the_shell(shell: str, script: str, on_path: dict[str, str]):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    said = subprocess.run([shell, "-c", script], env=on_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["modern-small"], said


def test_the_script_of_zsh_is_valid(maskling: Command, tmp_path: Path):
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed")
    (tmp_path / "script").write_text(maskling("completion", "zsh").out)
    assert subprocess.run(["zsh", "-n", tmp_path / "script"], capture_output=True).stderr == b""
