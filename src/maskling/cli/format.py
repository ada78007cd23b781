"""Format numbers, durations and tables for display."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from maskling.console import columns_of, counted, printable

# Unknown templates of wikitext that are named.
_SHOWN_TEMPLATES = 8
_NUMBER = re.compile(r"[-+]?\d[\d,._]*([eE][-+]?\d+)?( ?[a-zA-Z%]{1,2})?")


def size(count: float) -> str:
    """Format a count with a unit prefix: 12_345_678 as '12.3 M'."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(count) < 999.5 or unit == " T":
            return f"{count:.0f}" if not unit else f"{count:.3g}{unit}"
        count /= 1000
    raise AssertionError("the loop always returns")


def byte_size(count: float) -> str:
    """Format a number of bytes: 12_345_678 as '12.3 MB', 41 as '41 B'."""
    short = size(count)
    return f"{short}B" if " " in short else f"{short} B"


def duration(seconds: float) -> str:
    """Format seconds: 3725 as '1h 02m', 125 as '2m 05s', 4.2 as '4s'."""
    whole = max(0, round(seconds))
    if whole >= 3600:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    if whole >= 60:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole}s"


def shortened(text: str, width: int = 300) -> str:
    """Return the beginning of a text on one line, at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def table(rows: list[list[str]], indent: str = "  ", heads: bool = False) -> list[str]:
    """Return aligned lines: columns as wide as their widest cell; columns of numbers are aligned to the right.

    heads: whether the first row holds the column names.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    columns = [[row[index] for row in rows if index < len(row)] for index in range(max(map(len, rows), default=0))]
    widths = [max(map(columns_of, column)) for column in columns]
    numeric_columns = [all(not cell or _NUMBER.fullmatch(cell) for cell in column[heads:]) for column in columns]
    lines = []
    for row in rows:
        cells = []
        for cell, width, numeric in zip(row, widths, numeric_columns, strict=False):
            space = " " * (width - columns_of(cell))
            cells.append(space + cell if numeric else cell + space)
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


# More labels than this are in results.json and --json only.
_LABELS_SHOWN = 30
_CONFUSION_SHOWN = 10


def score_lines(details: Mapping[str, Any]) -> list[str]:
    """Return the scores per label, the confusion matrix of a few labels, and the scores of guessing.

    details: see `maskling.train.events.Details`.
    """
    lines = []
    if majority := details.get("majority"):
        scores = "   ".join(f"{name} {value:.4f}" for name, value in majority.items() if name != "label")
        lines.append(f"  majority ('{majority['label']}' always): {scores}")
    labels = details.get("labels", {})
    if 0 < len(labels) <= _LABELS_SHOWN:
        rows = [["", "precision", "recall", "f1", "support"]]
        for name, one in labels.items():
            rows.append([name, *(f"{one[key]:.4f}" for key in ("precision", "recall", "f1")), f"{one['support']:,}"])
        lines += table(rows, heads=True)
    confusion = details.get("confusion", {})
    if 0 < len(confusion.get("labels", ())) <= _CONFUSION_SHOWN:
        rows = [["true \\ predicted", *confusion["labels"]]]
        rows += [[name, *map(str, row)] for name, row in zip(confusion["labels"], confusion["counts"], strict=True)]
        lines += table(rows, heads=True)
    return lines


def unknown_templates(templates: Mapping[str, int], total: int) -> str:
    """Return a line about the templates of wikitext that were left out without being known, the most frequent first."""
    most = sorted(templates.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_TEMPLATES]
    named = ", ".join(f"{name} {count:,}" for name, count in most)
    return f"{counted(total, 'unknown template')} within text left out: {named}"
