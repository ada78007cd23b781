"""Look up the text of a row by the name of its field or a dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskling.errors import listing, suggestion


class FieldError(Exception):
    """A row lacks the text; the message continues a line that begins with 'line 3 '."""


def get_text(row: Any, path: str) -> str:
    """Return the text at `path`: 'text', or 'meta.body' for nested objects. Field names may contain dots.

    Raises FieldError.
    """
    value = _find(row, path)
    if not isinstance(value, str):
        raise FieldError(f"has {_kind(value)} in the field '{path}', not text")
    return value


def get_name(row: Any, path: str | None, default: str) -> str:
    """Return the text or number at `path` as the name of a document; `default` without a path. Raises FieldError."""
    if path is None:
        return default
    value = _find(row, path)
    if not isinstance(value, str | int):
        raise FieldError(f"has {_kind(value)} in the field '{path}', not a name")
    return str(value)


def _find(row: Any, path: str) -> Any:
    if not isinstance(row, Mapping):
        raise FieldError(f"is {_kind(row)}, not an object with fields")
    value: Any = row.get(path, _MISSING)
    if value is _MISSING:
        value = row
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise FieldError(missing(path, [str(name) for name in row]))
            value = value[part]
    return value


def missing(path: str, names: list[str]) -> str:
    """Return the message for a row that has the fields `names` but not `path`."""
    return f"has no field '{path}'; its fields: {listing(names, 8)}{suggestion(path, names)}; set corpus.text_field"


_MISSING = object()


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")
