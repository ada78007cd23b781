"""One process at a time: a lock on a file that the system takes back when its holder dies."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no flock; there the lock is only announced, not held
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextlib.contextmanager
def held(folder: Path, error: type[Exception], taken: Callable[[str], str], signed: bool = True) -> Iterator[None]:
    """Hold `folder`, which exists, until the block ends. On a file system without locks the block runs all the same.

    taken: what to say where another process, or another block in this one, holds it; gets the holder's name. signed:
    write that name; otherwise nothing in the folder changes but that a lock is there.
    Raises `error` then, and where the place of the lock is a link or no plain file.
    """
    path = folder / LOCK
    opened = _opened(path)
    if opened is None:
        raise error(f"{path} is a link or no plain file, so it cannot be a lock; delete it")
    with opened as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise error(taken(_holder(file))) from None
            except OSError:
                pass  # some network mounts
        if signed:
            file.truncate()
            file.write(f"process {os.getpid()}".encode())
            file.flush()
        yield


def _opened(path: Path) -> BinaryIO | None:
    """The lock file to read and write, made if it is not there; None if there is something else than a plain file.

    A link is not followed: in a folder from a stranger it could lead to any file, which would be written over.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        handle = os.open(path, flags | getattr(os, "O_CLOEXEC", 0), 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            return None
        raise
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return os.fdopen(handle, "r+b")
    os.close(handle)
    return None


def _holder(file: BinaryIO) -> str:
    """What a lock says of its holder; whoever wrote it, it is one short line."""
    said = file.read(40).decode(errors="replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in said).split()) or "unknown"
