"""Help loads no heavy packages."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "tokenizers", "pyarrow", "rjieba", "sentencex", "datasets")


def loaded_after(code: str) -> set[str]:
    """Return the heavy packages, and pydantic, that a fresh interpreter has loaded after running `code`."""
    told = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('|'.join(sys.modules))"],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()[-1]  # fmt: skip
    return set(told.split("|")) & {*HEAVY, "pydantic"}


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import maskling") == set()


def test_the_list_of_verbs_is_made_without_settings():
    assert loaded_after("from maskling.cli.main import run\nassert run(['--help']) == 0") == set()


def test_settings_of_fine_tuning_load_no_torch():
    assert "torch" not in loaded_after("import maskling.finetuning.recipe")


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["train", "--help"],
        ["--version"],
        *([verb, "--help"] for verb in ("prepare", "finetune", "report", "serve")),
    ],
)
def test_help_loads_nothing_heavy(words: list[str]):
    assert loaded_after(f"from maskling.cli.main import run\nassert run({words}) == 0") <= {"pydantic"}
