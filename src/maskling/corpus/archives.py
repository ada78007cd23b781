"""Archives (zip, tar) read member by member, from start to end, without unpacking them to disk."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from maskling.corpus.document import Source
from maskling.corpus.opening import FileReport, open_bytes, open_seekable
from maskling.errors import CorpusError

_ENCRYPTED = 1


def open_members(source: Source, kind: str, report: FileReport) -> Iterator[Source]:
    """Yield the files in an archive, each open until the next one is asked for, in the order of the archive.

    kind: '.zip' or '.tar'. Hidden files and those that macOS adds are left out; a member that cannot be read is a
    fault in `report`. Raises CorpusError for an archive that is damaged.
    """
    members = _zip_members(source, report) if kind == ".zip" else _tar_members(source, report)
    for path, stream, size in members:
        protocol = kind.removeprefix(".")
        yield Source(f"{protocol}://{path}::{source.location}", size, opened=stream)


def is_junk(path: str) -> bool:
    """Return whether a path in an archive or folder is a hidden file, or one that macOS adds to archives."""
    return any((part.startswith(".") and part not in (".", "..")) or part == "__MACOSX" for part in path.split("/"))


def _zip_members(source: Source, report: FileReport) -> Iterator[tuple[str, BinaryIO, int]]:
    with open_seekable(source, report) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                for member in archive.infolist():
                    if member.is_dir() or is_junk(member.filename):
                        continue
                    if member.flag_bits & _ENCRYPTED:
                        report.add_fault(f"{member.filename}: is encrypted; unpack the archive with its password first")
                        continue
                    try:
                        with archive.open(member) as opened:
                            yield _clean(member.filename), cast(BinaryIO, opened), member.file_size
                    except (NotImplementedError, RuntimeError) as error:
                        report.add_fault(f"{member.filename}: cannot be unpacked: {error}")
        except zipfile.BadZipFile as error:
            raise CorpusError(f"is not a complete zip archive: {error}") from None


def _tar_members(source: Source, report: FileReport) -> Iterator[tuple[str, BinaryIO, int]]:
    with open_bytes(source, report) as stream:
        try:
            # As a stream: members are read in their order, so that a compressed archive is unpacked only once.
            with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 17) as archive:
                for member in archive:
                    if not member.isfile() or is_junk(member.name):
                        continue
                    opened = archive.extractfile(member)
                    if opened is not None:
                        yield _clean(member.name), cast(BinaryIO, opened), member.size
        except tarfile.TarError as error:
            raise CorpusError(f"is not a complete tar archive: {error}") from None


def _clean(path: str) -> str:
    """Return the path of a member without './' and '..'; nothing is written under it."""
    return "/".join(part for part in PurePosixPath(path).parts if part not in ("/", "..")) or path
