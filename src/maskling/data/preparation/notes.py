"""Notes: small records that say that the files beside them are whole; written after those."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from maskling.files import written_aside

N = TypeVar("N", bound=BaseModel)


def write_note(path: Path, note: BaseModel) -> None:
    """Write a note, whole or not at all."""
    with written_aside(path) as file:
        file.write(orjson.dumps(note.model_dump(mode="json")))


def read_note(path: Path, kind: type[N]) -> N | None:
    """A note, or None where there is none or it cannot be understood: then its files count for nothing."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
