"""The Python blocks of docs/explain/data.md run, and print what the page shows."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "explain" / "data.md"
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PYTHON = [index for index, (language, _) in enumerate(BLOCKS) if language == "python"]


def ran(index: int, folder: Path) -> dict[str, Any]:
    script = folder / "block.py"
    script.write_text(BLOCKS[index][1], encoding="utf-8")
    return runpy.run_path(str(script), run_name="block")


def test_the_example_prints_what_the_page_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("tempfile.mkdtemp", lambda: str(tmp_path))
    ran(PYTHON[0], tmp_path)
    assert capsys.readouterr().out == BLOCKS[PYTHON[0] + 1][1]


def test_the_masking_of_the_page_is_a_masking(tmp_path: Path):
    assert ran(PYTHON[1], tmp_path)["WordMasking"]().kind == "word"
