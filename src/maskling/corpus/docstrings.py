"""Docstrings out of Python source, without importing it: nothing runs, prints, warns or opens a window."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from typing import NamedTuple

_SHORTEST_LOOSE = 80
_FEWEST_COMMENT_LINES = 3


class Docstring(NamedTuple):
    """A docstring and the dotted name it stands under ('' for the module itself). owner: the outermost class, or ''."""

    name: str
    owner: str
    text: str


def docstrings(source: str) -> Iterator[Docstring]:
    """Yield the docstrings of a module, its classes and functions, private ones too, in the order of the file."""
    tree = _parse(source)
    if tree is not None:
        yield from _walk(tree, "", "")


def loose_docstrings(source: str) -> Iterator[Docstring]:
    """Yield the docstrings that a module hands to others as strings, as modules full of add_docstr(f, '...') do."""
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
    """Yield the blocks of at least three lines that are nothing but comment, where authors explain at length."""
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
        warnings.simplefilter("ignore")  # a backslash too many in somebody's string is not our user's concern
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
