"""Files that are whole or absent: written aside, flushed to disk, renamed; and their checksums."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

# FOLDED DOCS
# [locks] One process at a time: a lock on a file that the system takes back when its holder dies.


ASIDE = ".partial"


@contextlib.contextmanager
def atomic_write(path: Path, unfinished: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file to write that appears under `path` only when the block ends without an error.

    unfinished: where what was written, if anything was, stays if the block ends with one; left out, nothing stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}{ASIDE}")
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException as error:
        if unfinished is not None and aside.exists() and aside.stat().st_size:
            aside.replace(unfinished)
        aside.unlink(missing_ok=True)
        _name_place(error, path, aside)
        raise
    flush_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it takes the place of `path` only when the block ends without an error.

    What stood at `path` is moved away just before and deleted just after, so that a whole folder
    stands there at every instant but one; `recover_folder` mends a stop in that instant.
    """
    aside = path.with_name(f"{path.name}.{os.getpid()}{ASIDE}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        # safetensors writes files that only their owner may read; others may read what they may list.
        readable = aside.stat().st_mode & 0o666
        for file in sorted(aside.rglob("*")):
            if file.is_file():
                file.chmod(readable)
                flush_file(file)
        flush_folder(aside)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        _name_place(error, path, aside)
        raise
    replace_folder(aside, path)


def replace_folder(aside: Path, path: Path) -> None:
    """Let a whole folder beside `path` take its place; what stood there is moved away just before."""
    old = path.with_name(f"{path.name}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    aside.rename(path)
    flush_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Put back what `atomic_folder` had moved away if it was stopped before the new one came."""
    old = path.with_name(f"{path.name}.old")
    if old.exists() and not path.exists():
        old.rename(path)


def remove_partial(folder: Path) -> None:
    """Delete what an earlier, interrupted write left in `folder`."""
    for left in folder.glob(f"*{ASIDE}"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, whole or not at all."""
    with atomic_write(path) as file:
        # A file name need not be text; what is none of it is written as JSON writes it anyway: "\udcff".
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")


def path_text(name: str) -> str:
    """The name of a file, which need not be text, as text: what is none is written out, as "\\udcff"."""
    return name.encode(errors="backslashreplace").decode()


def checksum(path: Path) -> str:
    """The xxh3-128 of a file's bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """The xxh3-128 of `value` as canonical JSON (sorted keys, no spaces), in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_128(text.encode(errors="backslashreplace")).hexdigest()


def _name_place(error: BaseException, path: Path, aside: Path) -> None:
    """Let a full disk say where: the system names no file, and the one beside `path` is nobody's concern."""
    if isinstance(error, OSError) and error.errno is not None and str(error.filename or aside).startswith(str(aside)):
        error.filename = str(path) + str(error.filename or aside).removeprefix(str(aside))


def flush_file(path: Path) -> None:
    """Ask the system to put a file's bytes on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Ask the system to put a folder's names on the disk; not every system can."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


try:
    import fcntl
except ImportError:  # Windows has no flock; there the lock is only announced, not held
    fcntl = None  # type: ignore[assignment]

LOCK = ".lock"


@contextlib.contextmanager
def lock_folder(
    folder: Path, error: type[Exception], taken: Callable[[str], str], signed: bool = True
) -> Iterator[None]:
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
