"""`prepare`: from sources of text to a folder of shards, in stages that resume after an interruption.

    sources --read, clean, deduplicate--> text parts --count words, train--> tokenizer
                                          text parts --tokenize--> shards --> manifest.json

Every file is written atomically and is a function of the sources and the settings alone, so a
run that was killed resumes from the files it finds, and the result is the same, byte for byte, whatever
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
from maskling.data.manifest import (
    MANIFEST,
    SHARDS,
    MadeFrom,
    Manifest,
    SegmentedScript,
    Splits,
    TextReport,
    dtype_name,
    load_manifest,
)
from maskling.data.npy import write_array
from maskling.data.prepare.clean_stage import NOTED_BAD_FILES, adjusted_held_out_limit, clean_text
from maskling.data.prepare.events import Prepared, PrepareEvent, Resumed
from maskling.data.prepare.parts import TEXT, ReadCounts, finished_parts, has_parts
from maskling.data.prepare.resume import (
    NOTE,
    before_training,
    check_free,
    check_same_inputs,
    differences_of,
    locked,
    made_from,
    read_made_from,
    write_made_from,
)
from maskling.data.prepare.settings import PrepareSettings
from maskling.data.prepare.tokenize_stage import EncodedPart, tokenize
from maskling.data.prepare.tokenizer_stage import given_tokenizer, make_tokenizer, measure_changes
from maskling.data.prepare.workers import open_workers
from maskling.data.shards import COUNTS, TOKENIZER, open_shards
from maskling.errors import CorpusError, DataError
from maskling.files import remove_partial, url_refusal
from maskling.metrics import entropy
from maskling.tokenizer.changes import ScriptChanges
from maskling.tokenizer.normalization import for_language
from maskling.tokenizer.segmentation import resolve_words
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.version import __version__

# Templates that a manifest names; rarer ones are only counted.
NOTED_TEMPLATES = 100


def prepare(sources: Sequence[str], out: Path, settings: PrepareSettings | None = None) -> Iterator[PrepareEvent]:
    """Prepare the folder `out` from the text of `sources`, yielding events; the last one is `Prepared`.

    Called again after a stop, it resumes; called again after the end, it yields `Prepared` with `already` and does
    nothing.
    Raises CorpusError for text that cannot be read or of which nothing is left, TokenizerError, and
    DataError if `out` cannot be written, is in use, or was made from other sources or settings.
    """
    folder = Path(out)
    if (refusal := url_refusal(out)) is not None:
        raise DataError(refusal)
    try:
        yield from _prepare(sources, folder, settings or PrepareSettings())
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else folder
        raise DataError(
            f"{where}: {error.strerror or error}; finished work is kept: fix this and run the same command again"
        ) from error


def _prepare(sources: Sequence[str], folder: Path, settings: PrepareSettings) -> Iterator[PrepareEvent]:
    report = ReadReport()
    expanded = expand(sources, report, any_suffix=settings.corpus.format != "auto")
    found = _without_outputs(folder, expanded)
    rules = resolve_words(settings.tokenizer.chinese_words, settings.tokenizer.words)
    with_rules = settings.tokenizer.model_copy(update={"chinese_words": rules.chinese, "words": rules.others})
    given = given_tokenizer(with_rules)
    made = made_from(found, report, settings, given.fingerprint if given is not None else None)
    tokenizer_settings = for_language(with_rules, settings.corpus.language)
    settings = settings.model_copy(update={"tokenizer": tokenizer_settings})
    if folder.is_dir():
        check_free(folder)  # before a lock file is left in a folder that holds other things
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if _is_finished(folder, made):
            _remove_intermediate_files(folder, settings.shards.keep_text)
            yield Prepared(folder, open_shards(folder).manifest, already=True)
            return
        made = _start_or_resume(folder, made)
        parts, end = finished_parts(folder)
        if parts:
            yield Resumed(len(parts), len(list((folder / SHARDS).glob("*.json"))))
        with open_workers(settings.system.num_workers) as workers:
            if end is None:
                part_bytes = made.settings["shards"]["part_bytes"]
                parts, end = yield from clean_text(folder, found, settings, part_bytes, parts, workers)
            text = text_report([*(part.tally for part in parts), end.tally])
            check_not_empty(text)
            tokenizer = yield from make_tokenizer(folder, parts, settings.tokenizer, given)
            changes = measure_changes(folder, parts, tokenizer)
            limit = adjusted_held_out_limit(settings.shards.validation_fraction, parts)
            encoded, counts = yield from tokenize(folder, parts, tokenizer, limit, workers)
        manifest = write_manifest(folder, made, text, tokenizer, encoded, counts, changes)
        _remove_intermediate_files(folder, settings.shards.keep_text)
        yield Prepared(folder, manifest, already=False)


def _without_outputs(folder: Path, sources: Sequence[Source]) -> list[Source]:
    """Leave out files that `prepare` itself writes: `prepare . --out data` must not read its own vocab.txt again."""
    root = folder.resolve()

    @functools.cache  # most of a million files share their folder with others
    def is_below_root(path: str) -> bool:
        return Path(path).resolve().is_relative_to(root)

    def is_inside(source: Source) -> bool:
        path = source.location
        if source.size is None or "://" in path:
            return False
        return is_below_root(path if os.path.islink(path) else os.path.dirname(path))  # noqa: PTH114, PTH120 (speed)

    return [source for source in sources if not is_inside(source)]


def _is_finished(folder: Path, made: MadeFrom) -> bool:
    """Return whether the folder is complete. Raises DataError if it is, but from other sources or settings."""
    if not (folder / MANIFEST).exists():
        return False
    manifest = load_manifest(folder)
    if manifest.made_from is None:
        raise DataError(f"{folder} was not made by 'prepare'; give another folder with --out")
    check_same_inputs(folder, manifest.made_from, made)
    if _from_standard_input(made):
        raise DataError(
            f"{folder} is complete and was made from standard input, which cannot be compared with the new input; "
            f"use it as it is, give another folder with --out, or delete it"
        )
    return True


def _start_or_resume(folder: Path, made: MadeFrom) -> MadeFrom:
    """Start in an empty folder or resume in an unfinished one; returns what it is made from.

    Raises DataError if the folder holds something else.
    """
    note = read_made_from(folder)
    if note is None:
        check_free(folder)
    elif _from_standard_input(made) or (differences_of(note, made) and not has_parts(folder)):
        # Standard input cannot be read again; or nothing was finished (a wrong setting, a missing field).
        for name in (TEXT, TOKENIZER, SHARDS):
            shutil.rmtree(folder / name, ignore_errors=True)
    elif (folder / TOKENIZER).exists():
        check_same_inputs(folder, note, made)
    else:
        # A vocabulary too small for the characters is an error after all text is read; keep the text then.
        check_same_inputs(folder, before_training(note), before_training(made))
    if note is None or differences_of(note, made):
        write_made_from(folder, made)
        note = made
    for path in (folder, folder / TEXT, folder / SHARDS):
        path.mkdir(exist_ok=True)
        remove_partial(path)
    return note


def _from_standard_input(made: MadeFrom) -> bool:
    return any(source.name == "-" for source in made.sources.listed)


def _remove_intermediate_files(folder: Path, keep_text: bool) -> None:
    """Delete the files that only an unfinished folder needs."""
    if keep_text:
        for path in (folder / TEXT).glob("*"):
            if not path.name.endswith(".jsonl.zst"):
                path.unlink()
    else:
        shutil.rmtree(folder / TEXT, ignore_errors=True)
    for path in (folder / SHARDS).glob("*.json"):
        path.unlink()
    (folder / NOTE).unlink(missing_ok=True)


def text_report(tallies: Sequence[ReadCounts]) -> TextReport:
    """Sum the counts of all parts."""
    rejected: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    encodings: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    templates: Counter[str] = Counter()
    for tally in tallies:
        templates.update(tally.templates)
        rejected.update(tally.rejected)
        changes.update(tally.changes)
        encodings.update(tally.encodings)
        notes.update(tally.notes)
    bad = [file for tally in tallies for file in tally.bad_files]
    return TextReport(
        read=sum(tally.read for tally in tallies),
        kept=sum(tally.kept for tally in tallies),
        kept_bytes=sum(tally.kept_bytes for tally in tallies),
        rejected=dict(sorted(rejected.items())),
        replaced_bytes=sum(tally.replaced_bytes for tally in tallies),
        changes=dict(sorted(changes.items())),
        encodings=dict(sorted(encodings.items())),
        num_bad_files=sum(tally.num_bad_files for tally in tallies),
        bad_files=tuple(bad[:NOTED_BAD_FILES]),
        notes=dict(sorted(notes.items())),
        templates=dict(sorted(templates.items(), key=lambda item: (-item[1], item[0]))[:NOTED_TEMPLATES]),
        num_templates=templates.total(),
    )


def check_not_empty(text: TextReport) -> None:
    """Raise CorpusError if no document was kept."""
    if not text.kept:
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in text.rejected.items())
        what = "the one document that was read" if text.read == 1 else f"the {text.read:,} documents that were read"
        bad = "".join(f"; {file.name}: {file.problem}" for file in text.bad_files[:1])
        raise CorpusError(
            f"nothing is left of {what}: {reasons}{bad}; "
            f"set corpus.filters.profile ('lines' for short texts that are no sentences), or see corpus.plain for "
            f"other ways to split a text into documents"
        )


def script_notes(encoded: Sequence[EncodedPart], tokenizer: Tokenizer) -> dict[str, SegmentedScript]:
    """Return the scripts without spaces of all parts, most frequent first."""
    counts: Counter[str] = Counter()
    for part in encoded:
        counts.update(part.scripts)
    return {
        script: SegmentedScript(characters=count, segmenter=tokenizer.words.segmenter(script))
        for script, count in counts.most_common()
    }


def write_manifest(
    folder: Path,
    made: MadeFrom,
    text: TextReport,
    tokenizer: Tokenizer,
    encoded: Sequence[EncodedPart],
    counts: NDArray[np.int64],
    changes: Sequence[ScriptChanges] = (),
) -> Manifest:
    """Write the counts, then the manifest, which completes the folder. Raises DataError if there is nothing to learn.

    counts: (vocab_size,) int64, how often each id occurs in the train split; changes: by normalization.
    """
    unknown = int(counts[tokenizer.special.unk])
    if unknown and unknown == counts.sum():
        raise DataError(
            f"the tokenizer covers no word of this text: all {unknown:,} tokens are unknown; "
            f"raise tokenizer.vocab_size or lower tokenizer.min_count, or give a tokenizer for its language"
        )
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"the training documents have {counts.sum():,} tokens, and no two different ones: "
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
        normalized=tuple(changes),
        scripts=script_notes(encoded, tokenizer),
        made_from=made,
    )
    manifest.write(folder)
    return manifest
