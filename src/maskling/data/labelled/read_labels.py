"""Labels of texts as files write them: names, numbers, lists, one-hot lists, lists as text, columns of 0 and 1."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from maskling.data.labelled.columns import ColumnMatch, no_label_column
from maskling.data.labelled.records import RecordLabel, TextRecord
from maskling.data.labelled.tables import BadRowError, Fields

_WRITTEN_AS_FLOAT = re.compile(r"-?\d+\.0")
_TRUE: Final = frozenset(("1", "1.0", "true", "True", "TRUE"))
_FALSE: Final = frozenset(("0", "0.0", "false", "False", "FALSE"))
# The value of a label that is not given, in datasets of the Hugging Face hub.
_NOT_GIVEN: Final = -1
_BRACKETS: Final = {"[": "]", "(": ")", "{": "}"}
# "tensor([0, 1])", "array([0, 1], dtype=int64)", "{'joy'}" and "set()" as Python prints them.
_PRINTED = re.compile(r"(?:tensor|array|set|frozenset)\((.*?)(?:,\s*dtype=[\w.'\"]+)?\)", re.DOTALL)
# "0 1 0" and "0,1,0": a place for each label.
_BITS = re.compile(r"[01](?:\.0)?(?P<between>[ ,;|])\s*[01](?:\.0)?(?:(?P=between)\s*[01](?:\.0)?)*")
_ITEM = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^,'"]+?|)\s*(?:,|$)""", re.DOTALL)
_SPACED_ITEM = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s'"]+)(?:\s+|$)""", re.DOTALL)


def label_of(
    row: Fields, found: ColumnMatch, separator: str | None, names: Sequence[str], *, numbers: bool
) -> RecordLabel:
    """Return the label of a row, None if it has none. Raises BadRowError.

    names: of labels that are numbers. numbers: the label is a number to predict. A list of numbers is returned as it
    is, without names: all records of the file decide whether it is one-hot (see `resolve_lists`).
    """
    if found.label_columns:
        if numbers:
            raise BadRowError("has several columns of labels; name one column of numbers with columns.label")
        return _indicated(row, found.label_columns)
    name = found.label
    value = row.get(name) if name is not None else None
    if value is None or (isinstance(value, str) and not value.strip()) or _is_nan(value):
        return () if value is not None and separator else None
    if _is_undecided(value, name):
        return None
    if numbers:
        return _number(value, name)
    if separator and isinstance(value, str):
        listed = list_in_text(value) if value.strip()[:1] == "[" else None
        parts = value.split(separator) if listed is None else listed
        return tuple(_named(part.strip(), names, name) for part in parts if part.strip())
    if isinstance(value, list | tuple):
        return tuple(label_name(part, name) for part in value)
    if names and _as_index(value) == _NOT_GIVEN:
        return None
    return _named(label_name(value, name), names, name)


def _indicated(row: Fields, columns: Sequence[str]) -> RecordLabel:
    """Return the columns in which a row has 1. Some datasets have -1 in all columns of a row without labels."""
    found, blank = [], 0
    for name in columns:
        value = row.get(name)
        text = str(value).strip() if value is not None else ""
        if text in _TRUE:
            found.append(name)
        elif text in ("", "-1", "-1.0", "nan"):
            blank += 1
        elif text not in _FALSE:
            raise BadRowError(f"has {value!r} in '{name}', but a column for one label of several holds 0 or 1")
    if blank == len(columns):
        return None
    if blank:
        raise BadRowError(f"has 0 or 1 in some of the {len(columns)} columns of labels and nothing in others")
    return tuple(found)


def missing_label(row: Fields, column: str | None, numbers: bool) -> str:
    """Return the message, to follow 'train.csv:3 ', for a row without a label."""
    if column is None:
        return no_label_column(list(row))
    if _is_undecided(row.get(column), column):
        return f"has '-' in '{column}': the annotators did not agree, so it has no label"
    return f"has no {'number' if numbers else 'label'} in '{column}'"


def label_name(value: Any, column: str | None) -> str:
    """Return a label as a name; 1.0 is named '1'. Raises BadRowError for what is no label."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value.strip()
        case int():
            return str(value)
        case float() if value.is_integer():
            return str(int(value))
        case _:
            remedy = "to learn numbers, use --task regress" if isinstance(value, float) else "give a name or a number"
            raise BadRowError(f"has {type_name(value)} for a label in '{column}'; {remedy}")


def named_tags(values: Sequence[str], names: Sequence[str], column: str | None) -> tuple[str, ...]:
    """Return the names of tags that are numbers. Raises BadRowError."""
    return tuple(_named(value, names, column) for value in values)


def _named(value: str, names: Sequence[str], column: str | None) -> str:
    if not names or value in names:
        return value
    index = _as_index(value)
    if index is None or not 0 <= index < len(names):
        raise BadRowError(f"has '{value}' in '{column}', but there are names for the numbers 0 to {len(names) - 1}")
    return names[index]


def _as_index(value: Any) -> int | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return int(number) if number.is_integer() else None


def _number(value: Any, column: str | None) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadRowError(f"has {value!r} in '{column}', but a number is needed")
    return number


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _is_undecided(value: Any, column: str | None) -> bool:
    """Return whether a label is the mark of SNLI and MultiNLI for pairs on which the annotators did not agree."""
    return value == "-" and column == "gold_label"


def type_name(value: Any) -> str:
    """Return the type of a value, for a message."""
    if value is None:
        return "nothing"
    names = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"a {type(value).__name__}")


def list_in_text(text: str) -> list[str] | None:
    """Return the items of a list that was written as text, None for another text.

    "['joy', 'anger']" as Python and pandas write it, '["joy"]' as JSON, "['joy' 'anger']" and "[0 1]" as NumPy does,
    "tensor([0, 1])" as PyTorch does, and "0 1 0" without brackets.
    """
    text = text.strip()
    if _BITS.fullmatch(text):
        return re.findall("[01]", text.replace(".0", ""))
    if (printed := _PRINTED.fullmatch(text)) is not None:
        text = printed[1].strip() or "[]"
    if len(text) < 2 or _BRACKETS.get(text[0]) != text[-1]:
        return None
    body = text[1:-1].strip()
    if not body:
        return []
    without_quotes = re.sub(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", "", body)
    pattern = _ITEM if "," in without_quotes else _SPACED_ITEM
    items, at = [], 0
    while at < len(body):
        found = pattern.match(body, at)
        if found is None or found.end() == at:
            return None
        if found[1]:
            items.append(_unquoted(found[1]))
        at = found.end()
    return items


def _unquoted(item: str) -> str:
    if item[0] in "'\"":
        try:
            return str(ast.literal_eval(item))
        except (ValueError, SyntaxError):
            return item[1:-1]
    return label_name(int(item.removesuffix(".0")), None) if re.fullmatch(r"-?\d+(\.0)?", item) else item


def resolve_lists(
    records: list[TextRecord], names: Sequence[str], fault: Callable[[TextRecord, str], None]
) -> tuple[list[TextRecord], list[str]]:
    """Return the records of a file with lists of labels as sets of names, and warnings.

    Lists as text become lists where all labels of the file are such; lists of one length of 0 and 1 are one-hot: each
    place is a label. names: of the places, or of labels that are numbers. fault: called for a list that cannot be
    meant; its record is left out if it returns.
    """
    records = _without_zeros(_split_texts(records))
    lists = [record.label for record in records if isinstance(record.label, tuple)]
    if not lists:
        return records, []
    labelled = sum(record.label is not None for record in records)
    length = _one_hot_length([*lists]) if len(lists) == labelled else None
    found: list[TextRecord] = []
    for record in records:
        label = record.label
        if not isinstance(label, tuple):
            found.append(record)
            continue
        try:
            found.append(replace(record, label=_resolved(label, names, length)))
        except BadRowError as error:
            fault(record, str(error))
    if length is None or names:
        return found, []
    return found, [
        f"lists of {length} zeros and ones are read as one-hot, and the labels are named 0 to {length - 1} by their "
        f"place; name them with columns.label-names"
    ]


def _resolved(label: tuple[str, ...], names: Sequence[str], length: int | None) -> tuple[str, ...]:
    if length is not None:
        if names and len(names) != length:
            raise BadRowError(f"has a list of {length} zeros and ones, but there are names for {len(names)} labels")
        return tuple(names[place] if names else str(place) for place, bit in enumerate(label) if bit in _TRUE)
    if len(set(label)) < len(label) and set(label) <= _TRUE | _FALSE:
        raise BadRowError(
            f"has the list [{', '.join(label)}], which repeats a label; one-hot lists have one length in all rows"
        )
    return tuple(dict.fromkeys(_named(name, names, "the list of labels") for name in label))


def _one_hot_length(lists: Sequence[tuple[str, ...]]) -> int | None:
    """Return the length of one-hot lists, None for lists of names.

    [0, 1] alone may also name two labels; a list that repeats one, or both orders, may not.
    """
    length = len(lists[0])
    bits = _TRUE | _FALSE
    if length < 2 or any(len(one) != length or not bits.issuperset(one) for one in lists):
        return None
    return length if length > 2 or len(set(lists)) > 1 or len(set(lists[0])) == 1 else None


def _split_texts(records: list[TextRecord]) -> list[TextRecord]:
    """Split labels that are lists written as text, if all labels of the file are."""
    labels = {record.label for record in records if record.label is not None}
    lists = {label: list_in_text(label) if isinstance(label, str) else None for label in labels}
    if not lists or None in lists.values():
        return records
    return [
        record
        if record.label is None or (items := lists[record.label]) is None
        else replace(record, label=tuple(items))
        for record in records
    ]


def _without_zeros(records: list[TextRecord]) -> list[TextRecord]:
    """Write labels as JSON's 1.0 is named, if all are written as 1.0, as pandas does where some are missing."""
    labels = [record.label for record in records if record.label is not None]
    if not all(isinstance(label, str) and _WRITTEN_AS_FLOAT.fullmatch(label) for label in labels):
        return records
    return [
        replace(record, label=record.label.removesuffix(".0")) if isinstance(record.label, str) else record
        for record in records
    ]
