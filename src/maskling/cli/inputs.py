"""Inputs of the verbs: sources and output paths are checked before the work, and settings of reading are resolved.

Sources that were never prepared, and labelled files, are read with the settings of `corpus_settings` and
`column_settings`. Texts one by one, as `maskling embed` takes them, are read in `texts.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from maskling.cli.options import Pairs, setting_layers
from maskling.errors import SettingsError
from maskling.files import ASIDE, url_refusal

if TYPE_CHECKING:
    from maskling.console import Console
    from maskling.corpus.opening import ReadReport
    from maskling.corpus.settings import CorpusSettings
    from maskling.data.labelled.columns import Columns


BaseModelFolder = Annotated[
    Path | None,
    Parameter(help="base model of a PEFT adapter; default: the one that the adapter names", metavar="FOLDER"),
]
SOURCES = "files, folders, globs, URLs, - for standard input, python-docs:, hf:NAME[:CONFIG[:SPLIT]]"


def check_sources(sources: Sequence[str]) -> None:
    """Raise SettingsError for a source with an empty name, such as an unset shell variable in quotes."""
    if not all(map(str.strip, sources)):
        raise SettingsError("one of the sources has an empty name; leave it out, or name a file")


def check_out_folder(out: Path) -> None:
    """Raise SettingsError if `out` is a URL, a file, or inside one."""
    _check_local(out)
    if out.exists() and not out.is_dir():
        raise SettingsError(f"{out} is a file; give a folder with --out")
    _check_above(out)


def check_out_file(out: Path, read: Iterable[str | Path] = (), suffixes: Sequence[str] = ()) -> None:
    """Raise SettingsError if `out` is a URL, a folder, inside a file, or one of the files that are read.

    suffixes: of the format that is written, the usual one first; another would name a format that it is not.
    """
    _check_local(out)
    if out.is_dir():
        raise SettingsError(f"{out} is a folder; give the name of a file in it")
    if str(out) == "-":
        raise SettingsError("- is not a file to write to; without --out the result goes to standard output")
    if out.exists() and any(Path(one).exists() and out.samefile(one) for one in read):
        raise SettingsError(f"{out} is also an input and would be lost; give another file with --out")
    if suffixes and out.suffix.lower() not in suffixes:
        raise SettingsError(
            f"{out}: the name should end in {suffixes[0]}, the only format written; give --out "
            f"{out.with_name(f'{out.stem}{suffixes[0]}')}"
        )
    _check_above(out)


def visible_names(folder: Path) -> list[str]:
    """Return the names in a folder, without hidden files and the rest of a stopped write; empty if it is missing."""
    if not folder.is_dir():
        return []
    names = sorted(path.name for path in folder.iterdir())
    return [name for name in names if not name.startswith(".") and not name.endswith(ASIDE)]


def _check_local(out: Path) -> None:
    if (refusal := url_refusal(out)) is not None:
        raise SettingsError(refusal)


def _check_above(out: Path) -> None:
    for above in out.parents:
        if above.exists():
            if not above.is_dir():
                raise SettingsError(f"{above} is a file, so {out} cannot be created; give another path")
            return


def reading_report(console: Console) -> ReadReport:
    """Return a report of the files that are read, which shows the progress on the console."""
    from maskling.corpus.opening import ReadReport

    return ReadReport(on_progress=lambda report: console.progress("reading", report.read_bytes, report.total_bytes))


def corpus_settings(
    settings: Pairs, sources: Sequence[str] | None, option: str, config: Path | None = None
) -> CorpusSettings:
    """Return how to read `sources`, from `--corpus.key value` and a settings file.

    option: how text is given to this verb. Raises SettingsError for such settings without a text.
    """
    from maskling.config import Settings, resolve
    from maskling.corpus.settings import CorpusSettings

    class TextSettings(Settings):
        corpus: CorpusSettings = CorpusSettings()

    if settings and not sources:
        raise SettingsError(f"--{settings[0][0]} sets how text is read, and there is none; give {option}")
    return resolve(TextSettings, setting_layers(config, settings)).settings.corpus


def column_settings(settings: Pairs) -> Columns:
    """Return the columns of labelled files, from `--columns.key value`."""
    from maskling.config import Settings, resolve
    from maskling.data.labelled.columns import Columns

    class FileSettings(Settings):
        columns: Columns = Columns()

    return resolve(FileSettings, setting_layers(None, settings)).settings.columns
