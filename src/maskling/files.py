"""Atomic files and folders (written aside, flushed to disk, renamed), bounded reading, checksums, and folder locks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import stat
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

try:
    import fcntl
except ImportError:  # Windows has no flock; there the lock file is written but not locked
    fcntl = None  # type: ignore[assignment]

ASIDE = ".partial"
LOCK = ".lock"
# Bounds of settings files: one of this size is no settings file, and none has this many levels.
SETTINGS_BYTES = 1 << 20
_MOST_LEVELS = 64


# As typed, or as `Path` writes it: 's3:/bucket'. One letter is a drive of Windows.
_URL = re.compile(r"(?:[\w+.-]+::)*[A-Za-z][\w+.-]+:(?:/|$)")


def url_refusal(path: Path | str) -> str | None:
    """Return why nothing can be written to `path` if it is a URL, which would become a local folder 's3:'; else None.

    A folder whose name looks like one is given with its whole path.
    """
    text = os.fspath(path)
    if not _URL.match(text):
        return None
    url = re.sub(r":/+", ":///" if text.startswith("file:") else "://", text, count=1)
    return f"{url} is a URL, and results are written to local paths; give a path, and copy what is there afterwards"


def _check_local(path: Path) -> None:
    if (refusal := url_refusal(path)) is not None:
        raise OSError(errno.EINVAL, refusal)


@contextlib.contextmanager
def atomic_write(path: Path, unfinished: Path | None = None) -> Iterator[BinaryIO]:
    """Open a file for writing that appears under `path` only when the block ends without an error.

    unfinished: after an error, what was written, if anything, is moved to this path; by default it is deleted.
    """
    _check_local(path)
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
        _name_target(error, path, aside)
        raise
    flush_folder(path.parent)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a folder to fill; it replaces `path` only when the block ends without an error.

    An existing folder at `path` is moved away just before and deleted just after, so there is a
    complete folder at every instant but one; `recover_folder` repairs a stop in that instant.
    """
    _check_local(path)
    aside = path.with_name(f"{path.name}.{os.getpid()}{ASIDE}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        # safetensors creates files that only their owner can read; give them the permissions of the folder.
        readable = aside.stat().st_mode & 0o666
        for file in sorted(aside.rglob("*")):
            if file.is_file():
                file.chmod(readable)
                flush_file(file)
        flush_folder(aside)
    except BaseException as error:
        shutil.rmtree(aside, ignore_errors=True)
        _name_target(error, path, aside)
        raise
    replace_folder(aside, path)


def replace_folder(aside: Path, path: Path) -> None:
    """Replace `path` by a complete folder beside it; an existing folder is moved away just before."""
    old = path.with_name(f"{path.name}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    aside.rename(path)
    flush_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Restore the folder that `atomic_folder` had moved away if it was stopped before the new one was in place."""
    old = path.with_name(f"{path.name}.old")
    if old.exists() and not path.exists():
        old.rename(path)


def remove_partial(folder: Path) -> None:
    """Delete what an interrupted write left in `folder`."""
    for left in folder.glob(f"*{ASIDE}"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    with atomic_write(path) as file:
        # A file name may hold bytes that are not text; they are escaped as JSON escapes them: "\udcff".
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")


def read_bounded(path: Path, most_bytes: int = SETTINGS_BYTES) -> bytes:
    """Return the bytes of a small regular file.

    A folder may come from anywhere: pipes and devices, which may have no end, and larger files are refused before they
    are read. Raises OSError, or ValueError with the reason, in one line without the path.
    """
    # Without O_NONBLOCK, opening a pipe waits for a writer.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is a pipe or a device, not a regular file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"it has more than {most_bytes:,} bytes, too many for such a file")
    return content


def read_json(path: Path, most_bytes: int = SETTINGS_BYTES) -> Any:
    """Return the value in a JSON file of bounded size and depth. Raises as `read_bounded`, and for invalid JSON."""
    return _of_few_levels(path, most_bytes, json.loads)


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, read as by `read_json`; empty if the file is missing or holds anything else."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_toml(path: Path, most_bytes: int = SETTINGS_BYTES) -> dict[str, Any]:
    """Return the tables of a TOML file of bounded size and depth. Raises as `read_bounded`, and for invalid TOML."""
    found: dict[str, Any] = _of_few_levels(path, most_bytes, tomllib.loads)
    return found


def _of_few_levels(path: Path, most_bytes: int, parse: Callable[[str], Any]) -> Any:
    """Parse a file, whose nesting must not exhaust the stack of what works on its value later."""
    too_deep = ValueError(f"it is nested in more than {_MOST_LEVELS} levels")
    try:
        value = parse(read_bounded(path, most_bytes).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error.reason} at byte {error.start:,})") from None
    except RecursionError:
        raise too_deep from None
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return value
    raise too_deep


def path_text(name: str) -> str:
    """Return a file name as text; bytes that are not text are escaped, as "\\udcff"."""
    return name.encode(errors="backslashreplace").decode()


def checksum(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes, in hexadecimal."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(value: Any) -> str:
    """Return the xxh3-128 of `value` as canonical JSON (sorted keys, no spaces), in hexadecimal."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return xxhash.xxh3_128(text.encode(errors="backslashreplace")).hexdigest()


def _name_target(error: BaseException, path: Path, aside: Path) -> None:
    """Make an OSError name `path`: a full disk names no file, and the temporary file means nothing to the user."""
    if isinstance(error, OSError) and error.errno is not None and str(error.filename or aside).startswith(str(aside)):
        error.filename = str(path) + str(error.filename or aside).removeprefix(str(aside))


def disk_error(error: Exception, path: Path) -> OSError:
    """Return the OSError behind the error of a library that has written to `path` and keeps only its words."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
        if os.strerror(number) in str(error) or f"os error {number}" in str(error):
            return OSError(number, os.strerror(number), str(path))
    return OSError(errno.EIO, str(error).splitlines()[0] if str(error) else type(error).__name__, str(path))


def flush_file(path: Path) -> None:
    """Flush a file's bytes to disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: Path) -> None:
    """Flush a folder's entries to disk, on systems that support it."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock_folder(
    folder: Path, error: type[Exception], taken: Callable[[str], str], signed: bool = True
) -> Iterator[None]:
    """Lock `folder`, which exists, until the block ends. On a file system without locks the block runs anyway.

    The system releases the lock when its process dies. taken: returns the error message for a folder locked by another
    process, or by another block in this one, given the holder's name. signed: write that name into the lock file;
    otherwise the folder does not change, except that the lock file is created.
    Raises `error` if the folder is locked, and if the lock file is a link or not a regular file.
    """
    path = folder / LOCK
    lock = _open_lock(path)
    if lock is None:
        raise error(f"{path} is a link or not a regular file, so it cannot be a lock; delete it")
    with lock as file:
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


def _open_lock(path: Path) -> BinaryIO | None:
    """Open the lock file for reading and writing, creating it if needed; return None if it is not a regular file.

    A link is not followed: in a folder from a stranger it could point to any file, which would be overwritten.
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
    """Return the holder's name from a lock file, whatever is in it, as one short line."""
    content = file.read(40).decode(errors="replace")
    return " ".join("".join(letter if letter.isprintable() else " " for letter in content).split()) or "unknown"
