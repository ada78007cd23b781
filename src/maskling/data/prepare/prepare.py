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
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskling.corpus.document import Source
from maskling.corpus.opening import ReadReport
from maskling.corpus.sources import expand
from maskling.data.manifest import MANIFEST, SHARDS, MadeFrom, Manifest, Splits, TextReport, dtype_name, load_manifest
from maskling.data.npy import write_array
from maskling.data.prepare.clean_stage import NOTED_BAD_FILES, clean_text, fitted_limit
from maskling.data.prepare.events import Prepared, PrepareEvent, Resumed
from maskling.data.prepare.parts import TEXT, Tally, has_parts, whole_parts
from maskling.data.prepare.resume import (
    NOTE,
    before_training,
    check_free,
    check_same,
    differences_of,
    locked,
    made_from,
    read_made_from,
    write_made_from,
)
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.tokenize_stage import EncodedPart, tokenize
from maskling.data.prepare.tokenizer_stage import given_tokenizer, make_tokenizer
from maskling.data.prepare.workers import engine
from maskling.data.shards import COUNTS, TOKENIZER, open_shards
from maskling.errors import CorpusError, DataError
from maskling.files import remove_partial
from maskling.metrics import entropy
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.version import __version__

# FOLDED DOCS
# [finishing] The last stage: what was made, added up and written into the manifest.


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


def text_report(tallies: Sequence[Tally]) -> TextReport:
    """What became of all documents."""
    rejected: Counter[str] = Counter()
    for tally in tallies:
        rejected.update(tally.rejected)
    bad = [file for tally in tallies for file in tally.bad_files]
    return TextReport(
        read=sum(tally.read for tally in tallies),
        kept=sum(tally.kept for tally in tallies),
        kept_bytes=sum(tally.kept_bytes for tally in tallies),
        rejected=dict(sorted(rejected.items())),
        replaced_bytes=sum(tally.replaced_bytes for tally in tallies),
        num_bad_files=sum(tally.num_bad_files for tally in tallies),
        bad_files=tuple(bad[:NOTED_BAD_FILES]),
    )


def check_something_left(text: TextReport) -> None:
    """Raises CorpusError if no document was kept."""
    if not text.kept:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in text.rejected.items())
        what = "the one document that was read" if text.read == 1 else f"the {text.read:,} documents that were read"
        raise CorpusError(
            f"nothing is left of {what}: {reasons}; "
            f"loosen corpus.filters, or see corpus.plain for other ways to divide a text into documents"
        )


def finish(
    folder: Path,
    made: MadeFrom,
    text: TextReport,
    tokenizer: Tokenizer,
    encoded: Sequence[EncodedPart],
    counts: NDArray[np.int64],
) -> Manifest:
    """Write the counts, then the manifest, which makes the folder complete. Raises DataError if it would be useless.

    counts: (vocab_size,) int64, how often each id occurs in the train split.
    """
    unknown = int(counts[tokenizer.special.unk])
    if unknown and unknown == counts.sum():
        raise DataError(
            f"the tokenizer knows no word of this text: all {unknown:,} tokens are unknown; "
            f"raise tokenizer.vocab_size or lower tokenizer.min_count, or give a tokenizer of its language"
        )
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"the documents to train on make {counts.sum():,} tokens, and no two that differ: "
            f"there is nothing to learn; give more text"
        )
    manifest = Manifest(
        created_by=f"maskling {__version__}",
        vocab_size=tokenizer.vocab_size,
        dtype=dtype_name(tokenizer.vocab_size),
        tokenizer=tokenizer.fingerprint,
        unknown_tokens=unknown,
        unigram_entropy=entropy.entropy(counts),
        counts=write_array(folder / COUNTS, counts),
        splits=Splits(
            train=tuple(part.train for part in encoded if part.train is not None),
            validation=tuple(part.validation for part in encoded if part.validation is not None),
        ),
        text=text,
        made_from=made,
    )
    manifest.write(folder)
    return manifest
