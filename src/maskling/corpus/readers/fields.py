"""Rows with named fields as documents: the text of one or several fields, whatever its type, and the name."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport
from maskling.corpus.settings import CorpusSettings
from maskling.errors import listing, suggestion

# The fields that hold the text of a message or a section, in this order.
TEXT_KEYS: Final = ("text", "content", "value")
# Between the texts of several fields, and of the items of a list.
BETWEEN: Final = "\n\n"
WITHOUT_TEXT: Final = "documents have no text (null or an empty list)"
_MISSING: Final = object()


class FieldError(Exception):
    """A row lacks the text; the message continues a line that begins with 'line 3 '."""


def read_row(
    row: Any, where: str, default: str, source: Source, settings: CorpusSettings, report: FileReport
) -> Document | None:
    """Return the document of a row; report the reason and return None if it has no text.

    where: the row in messages ('line 3'); default: the name of the document unless settings.id_field gives one.
    """
    paths = _paths(row, settings.text_field)
    texts, faults = [], []
    for path in paths:
        try:
            texts.append(get_text(row, path, settings.encoding))
        except FieldError as error:
            faults.append(error)
    if faults:
        kept = "; its other fields are kept" if texts else ""
        report.add_fault(f"{where} {faults[0]}{kept}")
    if not texts:
        return None
    text = BETWEEN.join(filter(None, texts))
    if not text:
        report.notes[WITHOUT_TEXT] += 1
    name = default
    if settings.id_field:
        found = get_name(row, settings.id_field)
        if found is None:
            report.notes[f"documents have no name in '{settings.id_field}' and are named by line or row"] += 1
        name = default if found is None else found
    return Document(text, name, source.location)


def get_text(row: Any, path: str, encoding: str = "auto") -> str:
    """Return the text at `path`: 'text', or 'meta.body' for nested objects. Field names may contain dots.

    The items of a list (texts, or objects with a field of TEXT_KEYS) are joined by blank lines; null is an empty text.
    A row that is a text is itself the text. Raises FieldError.
    """
    return row if isinstance(row, str) else _as_text(find(row, path), path, encoding)


def _paths(row: Any, paths: str) -> list[str]:
    """Return the fields that a setting names for a row: one, or several separated by commas ('title,text')."""
    if isinstance(row, str):
        return [paths]
    return [paths] if isinstance(row, Mapping) and paths in row else split_paths(paths)


def get_name(row: Any, path: str) -> str | None:
    """Return the value at `path` as the name of a document, or None if it is missing or cannot name one."""
    try:
        value = find(row, path)
    except FieldError:
        return None
    if isinstance(value, float):
        # Libraries for tables make floats of integers as soon as one is missing.
        return None if not math.isfinite(value) else str(int(value)) if value.is_integer() else str(value)
    if value is None or isinstance(value, bool | bytes | Mapping | list | tuple):
        return None
    return str(value) or None


def split_paths(paths: str) -> list[str]:
    """Return the fields that a setting names, separated by commas."""
    return [part for part in (part.strip() for part in paths.split(",")) if part] or [paths]


def find(row: Any, path: str) -> Any:
    """Return the value at a dotted path. On the way, a list stands for the values of all its items.

    Raises FieldError.
    """
    if not isinstance(row, Mapping):
        raise FieldError(f"is {_kind(row)}, not an object with fields")
    value: Any = row.get(path, _MISSING)
    if value is _MISSING:
        value = _at(row, path.split("."))
        if value is _MISSING:
            raise FieldError(missing(path, [str(name) for name in row], holding=_text_path(row)))
    return value


def _at(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return value
    if isinstance(value, list):
        found = [_at(item, parts) for item in value]
        return _MISSING if any(item is _MISSING for item in found) else found
    if not isinstance(value, Mapping) or parts[0] not in value:
        # Within an object that is missing as a whole, so are its fields.
        return None if value is None else _MISSING
    return _at(value[parts[0]], parts[1:])


def missing(path: str, names: list[str], setting: str = "corpus.text_field", holding: str | None = None) -> str:
    """Return the error for a row without the field `path`. names: its fields; holding: the one with text, if any."""
    advice = f"; set {setting}" + (f" to {holding}" if holding else "")
    similar = "" if holding else suggestion(path, names)
    return f"has no field '{path}'; its fields: {listing(names, 8)}{similar}{advice}"


def _text_path(value: Any, depth: int = 3) -> str | None:
    """Return the path of text within lists and objects, for a message: 'messages', 'doc.body'."""
    if not isinstance(value, Mapping) or not depth:
        return None
    for key, inner in value.items():
        first = inner[0] if isinstance(inner, list) and inner else None
        if isinstance(first, Mapping) and any(isinstance(first.get(name), str | list) for name in TEXT_KEYS):
            return str(key)
        below = _text_path(first if isinstance(first, Mapping) else inner, depth - 1)
        if isinstance(inner, Mapping) and below is None:
            below = next((name for name in (*TEXT_KEYS, "body") if isinstance(inner.get(name), str)), None)
        if below is not None:
            return f"{key}.{below}"
    return None


def _as_text(value: Any, path: str, encoding: str) -> str:
    if isinstance(value, str):
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):  # null of tables
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8-sig" if encoding == "auto" else encoding)
        except UnicodeDecodeError as error:
            raise FieldError(
                f"has bytes in the field '{path}' that are not {error.encoding} ({error.reason}); set corpus.encoding"
            ) from None
    if isinstance(value, list):
        return BETWEEN.join(text for item in value if (text := _item_text(item, path, encoding)))
    raise FieldError(f"has {_kind(value)} in the field '{path}', not text{_advice(value, path)}")


def _item_text(item: Any, path: str, encoding: str) -> str:
    if isinstance(item, Mapping):
        key = next((key for key in TEXT_KEYS if key in item), None)
        if key is None:
            raise FieldError(
                f"has a list in the field '{path}' whose objects have no {' or '.join(TEXT_KEYS)}; "
                f"their fields: {listing(list(item), 8)}; name one, as in {path}.{next(iter(item), 'X')}"
            )
        return _as_text(item[key], f"{path}.{key}", encoding)
    if isinstance(item, str | bytes | list) or item is None:
        return _as_text(item, path, encoding)
    raise FieldError(f"has a list with {_kind(item)} in the field '{path}', not text")


def _advice(value: Any, path: str) -> str:
    if isinstance(value, Mapping) and value:
        key = next((key for key in TEXT_KEYS if key in value), next(iter(value)))
        return f"; its fields: {listing(list(value), 8)}; set corpus.text_field, as in {path}.{key}"
    return ""


def _kind(value: Any) -> str:
    names = {
        type(None): "null",
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
        bytes: "bytes",
    }
    return names.get(type(value), f"a {re.sub('_', ' ', type(value).__name__)}")
