"""One `prepare` at a time in a folder."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from maskling.errors import DataError
from maskling.locks import held


def locked(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder` while the block runs. Raises DataError if another process holds it."""
    return held(
        folder,
        DataError,
        lambda _: f"another process is preparing {folder} at this moment; wait until it ends, or give another folder",
        signed=False,
    )
