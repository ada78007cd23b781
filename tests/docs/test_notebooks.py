"""The notebooks of examples/ run, and what is committed is what they show."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
LINK = re.compile(r"\]\(([^)\s:]+)\)")
# Paths of any machine, and of this one.
MACHINE = re.compile(rf"/home/|/root/|/tmp/|/usr/|site-packages|Traceback|\\Users|{re.escape(str(ROOT))}")


def _runner() -> ModuleType:
    """Load docs/run_notebooks.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("run_notebooks", ROOT / "docs" / "run_notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def kinds(notebook: Any) -> list[list[tuple[str, ...]]]:
    """The kind of every output: its type and its media types."""
    return [
        [(one["output_type"], *sorted(one.get("data", {}))) for one in cell["outputs"]] for cell in code_cells(notebook)
    ]


def test_there_are_three():
    assert [path.name[:2] for path in NOTEBOOKS] == ["1-", "2-", "3-"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_outputs_are_committed_small_and_of_no_machine(path: Path):
    text = path.read_text(encoding="utf-8")
    notebook = json.loads(text)
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell["outputs"]) for cell in cells) > len(cells) / 2
    assert not [one for cell in cells for one in cell["outputs"] if one["output_type"] == "error"]
    assert not [one for cell in cells for one in cell["outputs"] if one.get("name") == "stderr"]
    assert not MACHINE.search(text)
    assert len(text) < 150_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    links = [
        link for cell in cells if cell["cell_type"] == "markdown" for link in LINK.findall("".join(cell["source"]))
    ]
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_they_run_one_after_the_other_and_show_what_is_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("nbclient", "ipykernel", "pandas", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason=f"the notebooks need {name}: pip install -e '.[dev]'")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runner = _runner()
    for path in NOTEBOOKS:
        executed = runner.executed(path, tmp_path)
        assert kinds(executed) == kinds(json.loads(path.read_text(encoding="utf-8"))), path.name
