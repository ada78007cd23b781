"""One process on a run folder at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from maskling.errors import CheckpointError
from maskling.files import opened_lock

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
    opened = opened_lock(path)
    if opened is None:
        raise CheckpointError(f"{path} is a link or no plain file, so it cannot be a lock; delete it")
    with opened as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CheckpointError(
                    f"{folder} is being trained by another process ({_holder(file)}); "
                    f"wait for it, stop it, or give another --out"
                ) from None
        file.truncate()
        file.write(f"process {os.getpid()}".encode())
        file.flush()
        yield


def _holder(file: BinaryIO) -> str:
    """What a lock says of its holder; whoever wrote it, it is one short line."""
    said = file.read(40).decode(errors="replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in said).split()) or "unknown"
