"""One process on a run folder at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from maskling.errors import CheckpointError
from maskling.locks import held


def only_here(folder: Path) -> AbstractContextManager[None]:
    """Hold `folder` for this process until the block ends. Raises CheckpointError if another holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    return held(
        folder,
        CheckpointError,
        lambda holder: (
            f"{folder} is being trained by another process ({holder}); wait for it, stop it, or give another --out"
        ),
    )
