"""What a command reads and where it may write: mistakes are said before the work, not after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from maskling.errors import SettingsError
from maskling.files import ASIDE

SOURCES = "files, folders, globs, URLs, - for standard input, python-docs:, hf:NAME[:CONFIG[:SPLIT]]"


def check_sources(sources: Sequence[str]) -> None:
    """Raise SettingsError for a source without a name, which is what "$UNSET" gives."""
    if not all(map(str.strip, sources)):
        raise SettingsError("one of the sources has an empty name; leave it out, or say which file is meant")


def check_out_folder(out: Path) -> None:
    """Raise SettingsError if `out` is a file or lies under one."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    _check_above(out)


def check_out_file(out: Path, read: Iterable[str | Path] = ()) -> None:
    """Raise SettingsError if `out` is a folder, lies under a file, or is one of the files that are read."""
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; give the name of a file in it")
    if str(out) == "-":
        raise SettingsError("- is no file to write to; without --out the answer is on standard output")
    if out.exists() and any(Path(one).exists() and out.samefile(one) for one in read):
        raise SettingsError(f"{out} is what is read, and would be lost; give another file with --out")
    _check_above(out)


def visible(folder: Path) -> list[str]:
    """The names in a folder, without hidden ones and what a stopped write has left; none if it is not there."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.startswith(".") and not name.endswith(ASIDE)]


def _check_above(out: Path) -> None:
    for above in out.parents:
        if above.exists():
            if not above.is_dir():
                raise SettingsError(f"{above} is a file, so {out} cannot be made; give another place")
            return
