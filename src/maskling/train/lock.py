"""One process on a run folder at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from maskling.errors import CheckpointError

try:
    import fcntl
except ImportError:  # Windows has no flock; there the lock is only announced, not held
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def only_here(folder: Path) -> Iterator[None]:
    """Hold `folder` for this process until the block ends; the system lets go if the process dies.

    Raises CheckpointError if another process, or another run in this one, holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                raise CheckpointError(
                    f"{folder} is being trained by another process ({file.read().strip() or 'unknown'}); "
                    f"wait for it, stop it, or give another --out"
                ) from None
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}")
        file.flush()
        yield
