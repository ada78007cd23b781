"""How a verb reads text that was never prepared, and labelled files: the settings that say so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maskling.cli.settings import Pairs, layers
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.console import Console
    from maskling.corpus.report import ReadReport
    from maskling.corpus.settings import CorpusSettings
    from maskling.data.labelled.columns import Columns


def followed(console: Console) -> ReadReport:
    """A report of a reading that shows how far it is."""
    from maskling.corpus.report import ReadReport

    return ReadReport(told=lambda report: console.progress("reading", report.read_bytes, report.total_bytes))


def read_as(settings: Pairs, sources: Sequence[str] | None, option: str, config: Path | None = None) -> CorpusSettings:
    """How to read `sources`, by `--corpus.key value` and a settings file.

    option: how text is given to this verb. Raises SettingsError for settings where there is no text.
    """
    from maskling.config import Settings, resolve
    from maskling.corpus.settings import CorpusSettings

    class TextSettings(Settings):
        corpus: CorpusSettings = CorpusSettings()

    if settings and not sources:
        raise SettingsError(f"--{settings[0][0]} says how text is read, and there is none; give {option}")
    return resolve(TextSettings, layers(config, settings)).settings.corpus


def columns_in(settings: Pairs) -> Columns:
    """Which columns of labelled files hold what, by `--columns.key value`."""
    from maskling.config import Settings, resolve
    from maskling.data.labelled.columns import Columns

    class FileSettings(Settings):
        columns: Columns = Columns()

    return resolve(FileSettings, layers(None, settings)).settings.columns
