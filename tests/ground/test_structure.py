"""The shape of the source tree: no import circles, no crowded folders, no overlong files."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"
MAX_FILES, MAX_LINES = 25, 400


def _measure() -> ModuleType:
    """Load docs/measure.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("measure", ROOT / "docs" / "measure.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_modules_import_each_other_deferred_and_type_only_imports_counted() -> None:
    measure = _measure()
    graph = measure.imports(SRC)
    assert len(graph) > 200
    assert sum(map(len, graph.values())) > len(graph)
    assert measure.circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    assert measure.circles(graph) == []


def test_no_folder_holds_more_than_25_modules() -> None:
    counts = Counter(path.parent for path in SRC.rglob("*.py") if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MAX_FILES} == {}


def test_no_source_file_is_longer_than_400_lines() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in SRC.rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > MAX_LINES} == {}
