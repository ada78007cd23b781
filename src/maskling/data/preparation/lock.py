"""One `prepare` at a time in a folder: a lock that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from maskling.errors import DataError
from maskling.files import opened_lock

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder` while the block runs. Raises DataError if another process holds it."""
    try:
        import fcntl
    except ImportError:  # Windows: two at a time would repeat each other's work, not spoil it
        yield
        return
    opened = opened_lock(folder / LOCK)
    if opened is None:
        raise DataError(f"{folder / LOCK} is a link or no plain file, so it cannot be a lock; delete it")
    with opened as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"another process is preparing {folder} at this moment; wait until it ends, or give another folder"
            ) from None
        except OSError:
            pass  # a file system without locks (some network mounts): go on without
        yield
