"""Files that are whole or absent: written aside, flushed to disk, renamed; and their checksums."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

ASIDE = ".partial"


@contextlib.contextmanager
def written_aside(path: Path, unfinished: Path | None = None) -> Iterator[BinaryIO]:
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
def folder_written_aside(path: Path) -> Iterator[Path]:
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
    put_in_place(aside, path)


def put_in_place(aside: Path, path: Path) -> None:
    """Let a whole folder beside `path` take its place; what stood there is moved away just before."""
    old = path.with_name(f"{path.name}.old")
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
        path.rename(old)
    aside.rename(path)
    flush_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(path: Path) -> None:
    """Put back what `folder_written_aside` had moved away if it was stopped before the new one came."""
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
    with written_aside(path) as file:
        # A file name need not be text; what is none of it is written as JSON writes it anyway: "\udcff".
        file.write(json.dumps(value, indent=2, ensure_ascii=False).encode(errors="backslashreplace") + b"\n")


def as_text(name: str) -> str:
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
