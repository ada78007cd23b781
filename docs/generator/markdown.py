"""Markdown for the reference pages: tables, values and types."""

from __future__ import annotations

import types
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

_PLAIN = {
    int: "integer",
    float: "number",
    str: "text",
    bool: "true or false",
    Path: "path",
    type(None): "none",
}
_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(" ".join(cell.split()) for cell in line) + " |\n" for line in lines)


def prose(text: str) -> str:
    """Escape text from the code for Markdown."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def value(found: Any) -> str:
    """Return a value as in a settings file; large numbers in a readable form."""
    if found is None:
        return "none"
    if isinstance(found, bool):
        return str(found).lower()
    if isinstance(found, tuple | list):
        return f"[{', '.join(map(value, found))}]"
    if isinstance(found, int):
        power = found.bit_length() - 1
        return f"2^{power}" if power >= 20 and found == 1 << power else f"{found:_}"
    if isinstance(found, float) and found >= 10_000:
        return f"{found:_.0f}"
    return str(found)


def limits(metadata: Sequence[Any]) -> list[str]:
    """Return ['≥ 0', '< 1'] from a field's bounds in pydantic."""
    found: list[str] = []
    for part in metadata:
        nested = getattr(part, "metadata", ())  # of Annotated[int, Field(ge=1)], in a union
        found += limits(nested)
        found += [f"{sign} {value(getattr(part, name))}" for name, sign in _BOUNDS.items() if hasattr(part, name)]
    return found


def type_name(annotation: Any) -> str:
    """Return an annotation in words."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inside)
    if origin is Annotated:
        return ", ".join([type_name(inside[0]), *limits(inside[1:])])
    if origin in (Union, types.UnionType):
        return " or ".join(map(type_name, inside))
    if origin in (tuple, list):
        return f"list of {type_name(inside[0])}"
    raise TypeError(f"no words for {annotation}; add them here")
