"""Reader of the documentation in every Python installation: the manual, and docstrings of stdlib, torch and numpy.

Docstrings are extracted from source without importing it: nothing runs, prints, warns or opens a window.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.restructured_text import prose
from maskling.corpus.settings import CorpusSettings

_PACKAGES = ("torch", "numpy")
# Tests, vendored copies, tables of characters, and packages whose docstrings describe internals only.
_LEFT_OUT = frozenset(
    (
        *("site-packages", "dist-packages", "__pycache__", "test", "tests", "testing", "_pyinstaller", "idlelib"),
        *("turtledemo", "lib2to3", "pydoc_data", "encodings", "ensurepip", "_vendor", "msilib"),
        *("_inductor", "_dynamo", "_functorch", "_export", "_refs", "_prims", "_decomp", "_numpy", "_subclasses"),
        *("onnx", "include", "f2py", "distutils", "_higher_order_ops", "_native", "_strobelight"),
    )
)
_SHORTEST_OWN_DOCUMENT = 1500
_SHORTEST_LOOSE = 80
_FEWEST_COMMENT_LINES = 3
# A paragraph that already begins with a name: 'torch.abs(input): ...'
_NAMED = re.compile(r"^[\w.]+(?:\(.*\))?: ")

# Heading, text, and whether double quotes mark code, of each piece of a document.
Passages = list[tuple[str, str, bool]]


def read_python_docs(source: Source, _settings: CorpusSettings, _report: FileReport) -> Iterator[Document]:
    """Yield a document for each topic of the manual, each module and each well-documented class.

    Source files are parsed, not imported; only the modules built into the interpreter, which have
    no source, are inspected at runtime. A paragraph of an earlier document is skipped.
    """
    seen: set[str] = set()
    for name, parts in _documents():
        paragraphs = []
        for heading, text, quoted in parts:
            fresh = [paragraph for paragraph in prose(text, quoted) if paragraph not in seen]
            seen.update(fresh)
            if fresh and heading and not _NAMED.match(fresh[0]):
                fresh[0] = f"{heading}: {fresh[0]}"
            paragraphs.extend(fresh)
        if paragraphs:
            yield Document("\n\n".join(paragraphs), name, source.location)


def _documents() -> Iterator[tuple[str, Passages]]:
    yield from _topics()
    for name in sorted({"builtins", *sys.builtin_module_names}):
        yield from _grouped(name, list(_docstrings_at_runtime(name)))
    library = Path(sysconfig.get_path("stdlib"))
    yield from _package("", library)
    for package in _PACKAGES:
        spec = find_spec(package)  # finds a top-level package without importing it
        if spec and spec.origin:
            yield from _package(package, Path(spec.origin).parent)


def _topics() -> Iterator[tuple[str, Passages]]:
    if find_spec("pydoc_data") is None:
        return  # some systems package it separately from the standard library
    topics = importlib.import_module("pydoc_data.topics").topics  # a module with one dictionary
    for name in sorted(topics):
        yield f"topic:{name}", [("", topics[name], True)]


def _package(name: str, folder: Path) -> Iterator[tuple[str, Passages]]:
    for path in sorted(folder.rglob("*.py")):
        inner = path.relative_to(folder)
        if _LEFT_OUT.intersection(inner.parts[:-1]) or path.name.startswith(
            ("test_", "__main__", "antigravity", "this.")
        ):
            continue
        if name == "torch" and "docs" not in path.stem and _private(inner):
            continue  # torch's internals are in private modules, but so are numpy's public functions
        module = ".".join(part for part in (name, *inner.with_suffix("").parts) if part and part != "__init__")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue  # one unreadable file of a third party out of thousands
        found = list(loose_docstrings(text) if "docs" in path.stem else docstrings(text))
        if not name:
            found.extend(comments(text))
        yield from _grouped(module, found)


def _grouped(module: str, found: list[Docstring]) -> Iterator[tuple[str, Passages]]:
    """Yield the documents of a module: one for each class with long docstrings, and one for the rest."""
    rest: Passages = []
    own: list[tuple[str, Passages]] = []
    for owner, group in groupby(found, key=lambda docstring: docstring.owner):
        parts = [(_heading(item.name), item.text, False) for item in group]
        if owner and sum(len(text) for _, text, _ in parts) >= _SHORTEST_OWN_DOCUMENT:
            own.append((f"{module}.{owner}", parts))
        else:
            rest.extend(parts)
    yield module, rest
    yield from own


def _private(path: Path) -> bool:
    return any(part.startswith("_") for part in path.with_suffix("").parts if part != "__init__")


def _heading(name: str) -> str:
    """Return the heading of a docstring: 'Path.glob', or nothing for private and special names."""
    return "" if any(part.startswith("_") for part in name.split(".")) else name


def _docstrings_at_runtime(name: str) -> Iterator[Docstring]:
    module = importlib.import_module(name)
    yield Docstring("", "", module.__doc__ or "")
    for key, value in sorted(vars(module).items()):
        if key.startswith("__") or not (inspect.isclass(value) or inspect.isroutine(value)):
            continue
        owner = key if inspect.isclass(value) else ""
        yield Docstring(key, owner, _own_doc(value))
        for inner, member in sorted(vars(value).items()) if owner else ():
            # Special methods have the same docstrings on every class ('Return self+value.').
            if not inner.startswith("__"):
                yield Docstring(f"{key}.{inner}", owner, _own_doc(member))


def _own_doc(value: object) -> str:
    text = getattr(value, "__doc__", None)
    return text if isinstance(text, str) else ""


class Docstring(NamedTuple):
    """A docstring and its dotted name ('' for the module itself). owner: the outermost class, or ''."""

    name: str
    owner: str
    text: str


def docstrings(source: str) -> Iterator[Docstring]:
    """Yield the docstrings of a module, its classes and functions, private ones too, in the order of the file."""
    tree = _parse(source)
    if tree is not None:
        yield from _walk(tree, "", "")


def loose_docstrings(source: str) -> Iterator[Docstring]:
    """Yield the docstrings that a module passes as arguments, as in modules of add_docstr(f, '...') calls."""
    tree = _parse(source)
    if tree is None:
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            # add_docstr(torch.abs, r"..."), .format(**common_args) after it, and numpy's ('name', "...") pairs.
            for argument in node.args:
                for inner in argument.elts if isinstance(argument, ast.Tuple) else (argument,):
                    text = _literal(inner)
                    if text and len(text) >= _SHORTEST_LOOSE and " " in text:
                        yield Docstring("", "", text)


def comments(source: str) -> Iterator[Docstring]:
    """Yield comment blocks of at least three lines, where authors explain at length."""
    block: list[str] = []
    for line in [*source.split("\n"), ""]:
        stripped = line.strip()
        if stripped.startswith("#"):
            block.append(stripped.lstrip("#").removeprefix(" "))
            continue
        if len(block) >= _FEWEST_COMMENT_LINES:
            yield Docstring("", "", "\n".join(block))
        block = []


def _parse(source: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escape sequences in third-party strings do not concern the user
        try:
            return ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return None


def _walk(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str, owner: str
) -> Iterator[Docstring]:
    text = ast.get_docstring(node, clean=False)
    if text:
        yield Docstring(name, owner, text)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    for child in node.body:
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            below = f"{name}.{child.name}" if name else child.name
            yield from _walk(child, below, owner or (child.name if isinstance(child, ast.ClassDef) else ""))


def _literal(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return _literal(node.func.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [_literal(node.left), _literal(node.right)]
        return "".join(part for part in parts if part) or None
    return None
