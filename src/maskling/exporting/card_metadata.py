"""The metadata of a model card: the YAML between its first two lines of dashes, which huggingface.co reads.

The measured numbers are in its `model-index`. Strings are written as JSON strings, which are YAML too.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maskling.errors import SettingsError
from maskling.files import atomic_write

_LINE = "---\n"
_INDEX = "model-index"


@dataclass(frozen=True)
class Measured:
    """Metrics of a model on one data set, for its model-index.

    task: a task of huggingface.co, such as 'fill-mask'. dataset: its name for people. metrics: 'accuracy' -> 0.83.
    """

    name: str
    task: str
    dataset: str
    metrics: Mapping[str, float]


def with_metadata(card: str, entries: Mapping[str, str | Sequence[str]], measured: Measured | None = None) -> str:
    """Return a card with these entries of its metadata, such as license, instead of those it had.

    entries: empty ones are left as they are. measured: replaces the model-index; None leaves that as it is. A card
    without metadata gets some.
    """
    blocks, text = _split(card)
    for key, value in entries.items():
        if value:
            blocks[key] = f"{key}: {_quoted(value)}\n" if isinstance(value, str) else _listed(key, value)
    if measured is not None:
        finite = {name: value for name, value in measured.metrics.items() if math.isfinite(value)}
        blocks.pop(_INDEX, None)
        if finite:
            blocks[_INDEX] = _index(measured, finite)
    return f"{_LINE}{''.join(blocks.values())}{_LINE}{text}" if blocks else text


def kept_metadata(card: str, keys: Sequence[str]) -> str:
    """Return the lines of some entries of a card's metadata, as they are written there."""
    blocks, _ = _split(card)
    return "".join(blocks[key] for key in keys if key in blocks)


def card_metadata(license: str | None, language: str | None) -> dict[str, str | list[str]]:  # noqa: A002
    """Return the entries of a license and of languages, 'en' or 'en,de'.

    Raises SettingsError for what huggingface.co would refuse.
    """
    if license and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
        raise SettingsError(
            f"license: {license!r} is not an identifier such as apache-2.0, mit, cc-by-4.0 or other; see "
            f"huggingface.co/docs/hub/repositories-licenses"
        )
    languages = (language or "").split(",") if language else []
    for name in languages:
        if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z]{2,4})?|code|multilingual", name):
            raise SettingsError(f"language: {name!r} is not a code of ISO 639 such as en, de or zh, nor 'multilingual'")
    return {"license": license or "", "language": languages}


def set_card_metadata(folder: Path, entries: Mapping[str, str | Sequence[str]]) -> None:
    """Write entries into the metadata of the card of a model folder; empty ones are left as they are."""
    path = folder / "README.md"
    if any(entries.values()) and path.is_file():
        card = path.read_text(encoding="utf-8", errors="replace")
        with atomic_write(path) as file:
            file.write(with_metadata(card, entries).encode())


def _split(card: str) -> tuple[dict[str, str], str]:
    """Return the lines of each entry of the metadata by its key, and the text after the metadata."""
    if not card.startswith(_LINE) or f"\n{_LINE}" not in card[3:]:
        return {}, card
    lines, _, text = card[len(_LINE) :].partition(f"\n{_LINE}")
    blocks: dict[str, str] = {}
    key = ""
    for line in lines.splitlines(keepends=True):
        found = re.match(r"([\w-]+)\s*:", line)
        key = found[1] if found else key
        blocks[key] = blocks.get(key, "") + line.rstrip("\n") + "\n"
    return blocks, text


def _index(measured: Measured, metrics: Mapping[str, float]) -> str:
    lines = [
        f"{_INDEX}:",
        f"- name: {_quoted(measured.name)}",
        "  results:",
        "  - task:",
        f"      type: {measured.task}",
        "    dataset:",
        f"      name: {_quoted(measured.dataset)}",
        "      type: held-out",
        "    metrics:",
    ]
    for name, value in metrics.items():
        lines += [f"    - type: {_slug(name)}", f"      name: {_quoted(name)}", f"      value: {value:.6g}"]
    return "\n".join(lines) + "\n"


def _listed(key: str, values: Sequence[str]) -> str:
    return f"{key}:\n" + "".join(f"- {_quoted(value)}\n" for value in values)


def _quoted(value: str) -> str:
    return json.dumps(" ".join(value.split()), ensure_ascii=False)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.partition(",")[0].lower()).strip("_") or "metric"
