"""Expand files, folders, patterns and URLs to a list of single sources, in a fixed order."""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from maskling.console import counted
from maskling.corpus.archives import is_junk
from maskling.corpus.document import ARCHIVE_PROTOCOLS
from maskling.corpus.document import Source as Source
from maskling.corpus.formats import SUFFIXES, is_readable
from maskling.corpus.opening import ReadReport, missing_driver
from maskling.errors import CorpusError, suggestion

ARCHIVE_URLS = tuple(f"{protocol}://" for protocol in ARCHIVE_PROTOCOLS)
SPECIAL = ("python-docs:", "hf:")
# The files that `datasets` writes beside the data of a saved dataset.
_DATASET_NOTES = frozenset(("state.json", "dataset_info.json", "dataset_dict.json"))
_KINDS = (
    (stat.S_ISFIFO, "a pipe (FIFO)"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


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
    files = list(_walk(name, report, set()))
    known = [file for file in map(_local, files) if _known(file, report, any_suffix)]
    if not known:
        suffixes = ", ".join(sorted(SUFFIXES))
        held = f"{counted(len(files), 'file')}, but none" if files else "no file"
        raise CorpusError(
            f"{name}: this folder has {held} in a readable format ({suffixes}); "
            "name files themselves to read them as plain text"
        )
    yield from known


def _walk(folder: str, report: ReadReport, seen: set[str]) -> Iterator[str]:
    """Yield the files below a folder in the order of their names, following links, but each folder only once."""
    real = os.path.realpath(folder)
    if real in seen:
        report.left_out.append(f"{folder}: links to a folder that is read already; left out")
        return
    seen.add(real)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise CorpusError(f"{folder}: this folder cannot be listed: {error.strerror}") from None
    unread = _dataset_notes(folder, {entry.name for entry in entries})
    for entry in entries:
        if is_junk(entry.name) or entry.name in unread:
            continue
        try:
            mode = entry.stat().st_mode
        except FileNotFoundError:
            yield entry.path  # a link to nowhere: the error is reported when it is read
            continue
        except OSError as error:
            report.left_out.append(f"{entry.path}: cannot be read: {error.strerror}; left out")
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(entry.path, report, seen)
        elif stat.S_ISREG(mode):
            yield entry.path
        else:
            kind = next((kind for is_kind, kind in _KINDS if is_kind(mode)), "not a regular file")
            report.left_out.append(f"{entry.path}: is {kind}, not a file; left out (name it itself to read it)")


def _dataset_notes(folder: str, names: set[str]) -> set[str]:
    """Return the files of a folder of `datasets.save_to_disk` that are not its data; empty for another folder."""
    if "dataset_dict.json" not in names and not {"state.json", "dataset_info.json"} <= names:
        return set()
    try:
        listed = json.loads(Path(folder, "state.json").read_bytes())["_data_files"]
        data = {str(file["filename"]) for file in listed}
    except (OSError, ValueError, LookupError, TypeError):
        return set(_DATASET_NOTES)
    return {name for name in names if name in _DATASET_NOTES or (name.endswith(".arrow") and name not in data)}


def _expand_address(name: str, report: ReadReport, any_suffix: bool) -> Iterator[Source]:
    import fsspec

    if name.startswith(("http://", "https://")) and "*" not in name.partition("?")[0]:
        # Neither a folder nor a pattern: its query begins with '?', and listing it would read it as a page of links.
        yield Source(name, _http_size(name))
        return
    try:
        system, path = fsspec.core.url_to_fs(name)
        if name.startswith("tar://") and not system.exists(path) and system.exists(f"./{path}"):
            path = f"./{path}"  # as 'tar czf FILE.tar.gz .' names its members
        pattern = glob.has_magic(path) and not system.exists(path)
        matches = sorted(system.glob(path)) if pattern else [path] if system.exists(path) else []
        # A folder that matches, or is named, stands for its files that have a reader.
        found: dict[str, bool] = {}
        for match in matches:
            if system.isdir(match):
                inside = (file for file in sorted(system.find(match)) if not is_junk(file.removeprefix(match)))
                found |= dict.fromkeys(inside, False) | found
            elif not (pattern and is_junk(match.rpartition("/")[2])):
                found[match] = True
        sources = [(Source(_address(name, file, system), _size(system, file)), named) for file, named in found.items()]
    except ImportError as error:
        raise CorpusError(missing_driver(name, error)) from None
    except Exception as error:  # of fsspec or any of its drivers
        reason = str(error).partition(". ")[0] or type(error).__name__
        archive = name.rpartition("::")[2]
        advice = f"; give the archive itself, {archive}" if name.startswith(ARCHIVE_URLS) else ""
        raise CorpusError(f"{name}: cannot be listed: {reason}{advice}") from None
    known = [source for source, named in sources if named or _known(source, report, any_suffix)]
    if not known:
        raise CorpusError(f"{name}: there is nothing to read at this URL; check it, or list it first")
    yield from known


def _http_size(name: str) -> int | None:
    """Return the size of a file at a URL, if its server says it. Raises CorpusError if the driver is missing."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(name)
        return _size(system, path)
    except ImportError as error:
        raise CorpusError(missing_driver(name, error)) from None
    except FileNotFoundError:
        raise CorpusError(f"{name}: there is nothing at this URL; check it") from None
    except Exception:
        return None  # the error is reported when it is read


def _address(name: str, path: str, system: Any) -> str:
    """Return the address of a file that was found at `path` of a file system that `name` leads to."""
    links = name.split("::")
    # simplecache::s3://bucket/*.txt: the first link with a path is the one that was listed.
    at = next(index for index, link in enumerate(links) if "://" in link)
    if len(links) == 1:
        return str(system.unstrip_protocol(path))
    protocol = links[at].partition("://")[0]
    links[at] = path if "://" in path else f"{protocol}://{path.lstrip('/') if protocol in ARCHIVE_PROTOCOLS else path}"
    return "::".join(links)


def _size(system: Any, path: str) -> int | None:
    size = system.size(path)
    return None if size is None else int(size)


def _known(source: Source, report: ReadReport, any_suffix: bool) -> bool:
    if any_suffix or is_readable(source):
        return True
    report.skipped[source.suffix] += 1
    return False


def _near(name: str) -> str:
    folder = Path(name).parent
    if not folder.is_dir():
        return f" (nor a folder {folder})"
    if Path(name).is_symlink():
        return "; it is a link to a missing file"
    return suggestion(Path(name).name, sorted(entry.name for entry in folder.iterdir()))
