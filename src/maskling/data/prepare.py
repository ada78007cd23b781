"""`prepare`: from sources of text to a folder of shards, in stages that need not be done twice.

    sources --read, clean, deduplicate--> text parts --count words, train--> tokenizer
                                          text parts --tokenize--> shards --> manifest.json

Every file is written whole or not at all and is a function of the sources and the settings alone, so a
run that was killed goes on from the files it finds, and the result is the same, byte for byte, whatever
the number of workers and interruptions.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from maskling.corpus.document import Source
from maskling.corpus.report import ReadReport
from maskling.corpus.sources import expand
from maskling.data.manifest import MANIFEST, MadeFrom, load_manifest
from maskling.data.preparation.cleaning import clean_text
from maskling.data.preparation.events import Prepared, PrepareEvent, Resumed
from maskling.data.preparation.finishing import check_something_left, finish, text_report
from maskling.data.preparation.held_out import fitted_limit
from maskling.data.preparation.lock import locked
from maskling.data.preparation.made_from import (
    NOTE,
    before_training,
    check_free,
    check_same,
    differences_of,
    made_from,
    read_made_from,
    write_made_from,
)
from maskling.data.preparation.parts import TEXT, has_parts, whole_parts
from maskling.data.preparation.pool import engine
from maskling.data.preparation.tokenizing import tokenize
from maskling.data.preparation.vocabulary import given_tokenizer, make_tokenizer
from maskling.data.settings import PrepareSettings
from maskling.data.shard_files import SHARDS
from maskling.data.shards import TOKENIZER, open_shards
from maskling.errors import DataError
from maskling.files import remove_partial


def prepare(sources: Sequence[str], out: Path, settings: PrepareSettings | None = None) -> Iterator[PrepareEvent]:
    """Make the folder `out` from the text that `sources` name; ends with `Prepared`.

    Run again after a stop it goes on; run again after the end it says so and does nothing.
    Raises CorpusError for text that cannot be read or of which nothing is left, TokenizerError, and
    DataError when `out` cannot be written, is in use, or was made from other sources or settings.
    """
    folder = Path(out)
    try:
        yield from _prepare(sources, folder, settings or PrepareSettings())
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else folder
        raise DataError(
            f"{where}: {error.strerror or error}; what was finished is kept: mend this and run the same command again"
        ) from error


def _prepare(sources: Sequence[str], folder: Path, settings: PrepareSettings) -> Iterator[PrepareEvent]:
    report = ReadReport()
    found = _outside(folder, expand(sources, report, any_suffix=settings.corpus.format != "auto"))
    given = given_tokenizer(settings.tokenizer)
    made = made_from(found, report.skipped, settings, given.fingerprint if given is not None else None)
    if folder.is_dir():
        check_free(folder)  # before a lock is left in a folder that is not ours
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if _is_finished(folder, made):
            _tidy(folder, settings.shards.keep_text)
            yield Prepared(folder, open_shards(folder).manifest, already=True)
            return
        made = _begin(folder, made)
        parts, end = whole_parts(folder)
        if parts:
            yield Resumed(len(parts), len(list((folder / SHARDS).glob("*.json"))))
        with engine(settings.system.num_workers) as workers:
            if end is None:
                part_bytes = made.settings["shards"]["part_bytes"]
                parts, end = yield from clean_text(folder, found, settings, part_bytes, parts, workers)
            text = text_report([*(part.tally for part in parts), end.tally])
            check_something_left(text)
            tokenizer = yield from make_tokenizer(folder, parts, settings.tokenizer, given)
            below = fitted_limit(settings.shards.validation_fraction, parts)
            encoded, counts = yield from tokenize(folder, parts, tokenizer, below, workers)
        manifest = finish(folder, made, text, tokenizer, encoded, counts)
        _tidy(folder, settings.shards.keep_text)
        yield Prepared(folder, manifest, already=False)


def _outside(folder: Path, sources: Sequence[Source]) -> list[Source]:
    """Without what `prepare` itself writes: `prepare . --out data` must not read its own vocab.txt the next time."""
    root = folder.resolve()

    @functools.cache  # of a million files most are in one folder with others
    def holds(above: str) -> bool:
        return Path(above).resolve().is_relative_to(root)

    def is_inside(source: Source) -> bool:
        place = source.location
        if source.size is None or "://" in place:
            return False
        return holds(place) if os.path.islink(place) else holds(os.path.dirname(place))  # noqa: PTH114, PTH120 (speed)

    return [source for source in sources if not is_inside(source)]


def _is_finished(folder: Path, made: MadeFrom) -> bool:
    """Whether the folder is complete. Raises DataError if it is, but made from something else."""
    if not (folder / MANIFEST).exists():
        return False
    manifest = load_manifest(folder)
    if manifest.made_from is None:
        raise DataError(f"{folder} was not made by 'prepare'; give another folder with --out")
    check_same(folder, manifest.made_from, made)
    if _from_standard_input(made):
        raise DataError(
            f"{folder} is complete and was made from standard input, which cannot be compared with what comes now; "
            f"use it as it is, give another folder with --out, or delete it"
        )
    return True


def _begin(folder: Path, made: MadeFrom) -> MadeFrom:
    """Take the folder, or go on in it; returns what it is made from. Raises DataError if it holds something else."""
    note = read_made_from(folder)
    if note is None:
        check_free(folder)
    elif _from_standard_input(made) or (differences_of(note, made) and not has_parts(folder)):
        # What was read cannot be read again; or nothing was finished (a wrong setting, a missing field).
        for name in (TEXT, TOKENIZER, SHARDS):
            shutil.rmtree(folder / name, ignore_errors=True)
    elif (folder / TOKENIZER).exists():
        check_same(folder, note, made)
    else:
        # 'No room for the characters' is said when all text is read: that need not be done again.
        check_same(folder, before_training(note), before_training(made))
    if note is None or differences_of(note, made):
        write_made_from(folder, made)
        note = made
    for place in (folder, folder / TEXT, folder / SHARDS):
        place.mkdir(exist_ok=True)
        remove_partial(place)
    return note


def _from_standard_input(made: MadeFrom) -> bool:
    return any(source.name == "-" for source in made.sources.listed)


def _tidy(folder: Path, keep_text: bool) -> None:
    """Delete what only an unfinished folder needs."""
    if keep_text:
        for path in (folder / TEXT).glob("*"):
            if not path.name.endswith(".jsonl.zst"):
                path.unlink()
    else:
        shutil.rmtree(folder / TEXT, ignore_errors=True)
    for path in (folder / SHARDS).glob("*.json"):
        path.unlink()
    (folder / NOTE).unlink(missing_ok=True)
