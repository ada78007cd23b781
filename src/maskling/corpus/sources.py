"""Expand files, folders, patterns and URLs to a list of single sources, in a fixed order."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskling.corpus.document import Source as Source
from maskling.corpus.opening import ReadReport, missing_driver
from maskling.corpus.readers import READERS
from maskling.errors import CorpusError, suggestion

SPECIAL = ("python-docs:", "hf:")
_SUFFIXES = frozenset(suffix for reader in READERS.values() for suffix in reader.suffixes)


def expand(sources: Sequence[str], report: ReadReport | None = None, any_suffix: bool = False) -> list[Source]:
    """Return the single sources that `sources` name, each once.

    Folders are searched recursively, in the order of file names, without hidden files. A file of a folder whose
    suffix has no reader is skipped and counted in `report`, unless `any_suffix` (for a reader chosen by name);
    a file that is named itself is always included.
    Raises CorpusError if a named source is missing, or if a folder or pattern matches nothing.
    """
    report = report if report is not None else ReadReport()
    found: dict[str, Source] = {}
    for name in sources:
        for source in _expand(name, report, any_suffix):
            found.setdefault(source.location, source)
    if not found:
        raise CorpusError("no text was given: name files, folders, patterns, URLs, '-' or 'python-docs:'")
    return list(found.values())


def _expand(name: str, report: ReadReport, any_suffix: bool) -> Iterator[Source]:
    if name == "-" or (name.startswith(SPECIAL) and not name.startswith("hf://")):
        yield Source(name)
    elif "://" in name:
        yield from _expand_address(name, report, any_suffix)
    elif Path(name).is_dir():
        yield from _expand_folder(name, report, any_suffix)
    elif Path(name).exists():
        yield _local(name)
    elif glob.has_magic(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 (Path.glob accepts no absolute pattern)
        files = [match for match in matches if not Path(match).is_dir()]
        # '**' is recursive already; a folder that matches a plain '*' stands for all its files.
        folders = [] if "**" in name else [match for match in matches if Path(match).is_dir()]
        if not files and not folders:
            raise CorpusError(f"{name}: no file matches this pattern; check it, and quote it in a shell")
        yield from map(_local, files)
        for folder in folders:
            yield from _expand_folder(folder, report, any_suffix)
    else:
        raise CorpusError(f"{name}: there is no such file or folder{_near(name)}")


def _local(name: str) -> Source:
    try:
        return Source(name, os.stat(name).st_size)  # noqa: PTH116 (a fifth of the time)
    except OSError:
        return Source(name)  # the error is reported when it is read


def _expand_folder(name: str, report: ReadReport, any_suffix: bool) -> Iterator[Source]:
    files = list(_walk(name, frozenset()))
    known = [file for file in map(_local, files) if _known(file, report, any_suffix)]
    if not known:
        suffixes = ", ".join(sorted(_SUFFIXES))
        held = f"{len(files):,} files, but none" if files else "no file"
        raise CorpusError(
            f"{name}: this folder has {held} in a readable format ({suffixes}); "
            "name files themselves to read them as plain text"
        )
    yield from known


def _walk(folder: str, above: frozenset[str]) -> Iterator[str]:
    """Yield the files below a folder in the order of their names, following links, but never in a cycle."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"{folder}: this folder cannot be listed: {error.strerror}") from None
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry.path, above | {real})
        else:
            yield entry.path


def _expand_address(name: str, report: ReadReport, any_suffix: bool) -> Iterator[Source]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(name)
        folder = not glob.has_magic(path) and system.isdir(path)
        if folder:
            paths = sorted(system.find(path))
        elif glob.has_magic(path):
            paths = sorted(system.glob(path))
        else:
            paths = [path] if system.exists(path) else []
        if len(paths) > 1 or folder:
            paths = [found for found in paths if not _hidden(found.removeprefix(path))]
        sources = [Source(_address(name, found, system), _size(system, found)) for found in paths]
    except ImportError as error:
        raise CorpusError(missing_driver(name, error)) from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{name}: cannot be listed: {error}") from None
    if folder:
        sources = [source for source in sources if _known(source, report, any_suffix)]
    if not sources:
        raise CorpusError(f"{name}: there is nothing to read at this URL; check it, or list it first")
    yield from sources


def _hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _address(name: str, path: str, system: object) -> str:
    first, chained, rest = name.partition("::")
    if not chained:
        return str(system.unstrip_protocol(path))  # type: ignore[attr-defined]
    if "://" in first:  # zip://*.txt::archive.zip
        return f"{first.split('://')[0]}://{path}::{rest}"
    return f"{first}::{rest.split('://')[0]}://{path.lstrip('/')}"  # simplecache::s3://bucket/*.txt


def _size(system: object, path: str) -> int | None:
    size = system.size(path)  # type: ignore[attr-defined]
    return None if size is None else int(size)


def _known(source: Source, report: ReadReport, any_suffix: bool) -> bool:
    suffix = source.suffix
    if any_suffix or suffix in _SUFFIXES:
        return True
    report.skipped[suffix] += 1
    return False


def _near(name: str) -> str:
    folder = Path(name).parent
    if not folder.is_dir():
        return f" (nor a folder {folder})"
    if Path(name).is_symlink():
        return "; it is a link to a missing file"
    return suggestion(Path(name).name, sorted(entry.name for entry in folder.iterdir()))
