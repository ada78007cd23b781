"""Measure the structure of the source tree: file sizes, import circles, import closures, and files a task enters.

    python docs/measure.py              # this checkout
    python docs/measure.py --src PATH   # another checkout's src/

Numbers are counted from the syntax trees and, for the last rows, from a traced run; nothing is estimated.
"""

from __future__ import annotations

import ast
import collections
import re
import subprocess
import sys
from pathlib import Path

# What a person who knows PyTorch and transformers searches a training codebase for.
TERMS = (
    "rank", "broadcast", "barrier", "all-reduce", "gradient accumulation", "gradient clipping", "mixed precision",
    "autocast", "activation checkpointing", "FSDP", "checkpoint", "resume", "early stopping", "dataloader", "collate",
    "prefetch", "padding", "packing", "attention mask", "in-batch negatives", "anchor", "positive", "metrics",
    "logits", "special tokens", "subword", "learning rate schedule", "warm-up", "held-out", "micro-batch",
)  # fmt: skip


def modules(src: Path) -> dict[str, Path]:
    """Return the path of each module of the package, by dotted name."""
    return {
        ".".join(path.relative_to(src).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(src.rglob("*.py"))
    }


def imports(src: Path) -> dict[str, set[str]]:
    """Return the modules of the package that each module imports, wherever in the file: deferred and type-only too."""
    paths = modules(src)
    graph: dict[str, set[str]] = {name: set() for name in paths}
    for name, path in paths.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                inner = [f"{node.module}.{alias.name}" for alias in node.names]
                found = [one if one in paths else node.module for one in inner]
            else:
                continue
            graph[name].update(one for one in found if one in paths and one != name)
    return graph


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = []
            while True:
                component.append(stack.pop())
                if component[-1] == name:
                    break
            if len(component) > 1:
                found.append(sorted(component))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def public_names(src: Path) -> dict[str, set[str]]:
    """Return the modules that define each public function, class, constant or alias at their top level."""
    where: dict[str, set[str]] = collections.defaultdict(set)
    for module, path in modules(src).items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names: list[str] = []
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names = [node.name]
            elif isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                if not name.startswith("_"):
                    where[name].add(module)
    return where


def term_files(src: Path) -> dict[str, int]:
    """Return in how many files each term of the field occurs, spelled with spaces, hyphens or underscores."""
    texts = [re.sub(r"\s+", " ", path.read_text(encoding="utf-8")) for path in modules(src).values()]
    counts = {}
    for term in TERMS:
        pattern = re.compile(re.sub(r"[ -]", r"[ _-]?", re.escape(term).replace(r"\ ", " ").replace(r"\-", "-")), re.I)
        counts[term] = sum(bool(pattern.search(text)) for text in texts)
    return counts


def run_python(src: Path, code: str) -> str:
    """Return what `code` prints in a fresh interpreter that imports the package from `src`."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\nsys.path.insert(0, {str(src)!r})\n{code}"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()
