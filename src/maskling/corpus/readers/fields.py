"""The text of a row, by the name of its field or a dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maskling.errors import suggestion


class FieldError(Exception):
    """A row lacks the text; the message goes on after 'line 3 '."""


def get_text(row: Any, path: str) -> str:
    """The text at `path`: 'text', or 'meta.body' for nested objects. A field with a dot in its name is found too.

    Raises FieldError.
    """
    value = _find(row, path)
    if not isinstance(value, str):
        raise FieldError(f"has no text in the field '{path}' but {_kind(value)}")
    return value


def get_name(row: Any, path: str | None, default: str) -> str:
    """The text or number at `path` as a document's name; `default` if no path is set. Raises FieldError."""
    if path is None:
        return default
    value = _find(row, path)
    if not isinstance(value, str | int):
        raise FieldError(f"has no name in the field '{path}' but {_kind(value)}")
    return str(value)


def _find(row: Any, path: str) -> Any:
    if not isinstance(row, Mapping):
        raise FieldError(f"is not an object with fields but {_kind(row)}")
    value: Any = row.get(path, _MISSING)
    if value is _MISSING:
        value = row
        for part in path.split("."):
            if not isinstance(value, Mapping) or part not in value:
                raise FieldError(missing(path, [str(name) for name in row]))
            value = value[part]
    return value


def missing(path: str, names: list[str]) -> str:
    """What to say of a row whose fields are `names` and which lacks `path`."""
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    return f"has no field '{path}' but {shown or 'none at all'}{suggestion(path, names)}; set corpus.text_field"


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
