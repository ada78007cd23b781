"""Sources and settings that a prepared folder is made from: a rerun resumes with the same ones and refuses others."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import xxhash
from pydantic import ValidationError

from maskling.config import flatten
from maskling.corpus.document import Source
from maskling.corpus.opening import ReadReport
from maskling.data.manifest import MANIFEST, MadeFrom, SourceNote, SourceNotes
from maskling.data.prepare.settings import PrepareSettings
from maskling.errors import DataError
from maskling.files import ASIDE, checksum, fingerprint, lock_folder, path_text, write_json
from maskling.tokenizer.segmentation import resolve_words

NOTE = "prepare.json"
LISTED_SOURCES = 1000
_SAMPLED_SOURCES = 10_000
_SAMPLE_BYTES = 4096
_SHOWN_DIFFERENCES = 3
_DEFAULTS = flatten(PrepareSettings().model_dump(mode="json"))
# Settings of a tokenizer that take effect only when its vocabulary is trained.
_OF_TRAINING = ("vocab_size", "min_count", "max_alphabet")
# shards.part_bytes = 'auto': a share of the sources within bounds, or a fixed size if their size is not known.
_AUTO_PARTS = 32
_AUTO_PART_BYTES = (2 << 20, 32 << 20)
_UNKNOWN_PART_BYTES = 16 << 20


def locked(folder: Path) -> AbstractContextManager[None]:
    """Lock `folder` while the block runs, for one `prepare` at a time. Raises DataError if another process has it."""
    return lock_folder(
        folder,
        DataError,
        lambda _: f"another process is preparing {folder}; wait until it ends, or give another folder",
        signed=False,
    )


def check_free(folder: Path) -> None:
    """Raise DataError if a folder holds files that are not those of a preparation."""
    # A record that was being written when the run was killed does not count.
    names = (path.name for path in folder.iterdir() if not path.match(f"{NOTE}.*{ASIDE}"))
    others = sorted(name for name in itertools.islice(names, 100) if not name.startswith("."))
    if others and NOTE not in others and MANIFEST not in others:
        raise DataError(f"{folder} already holds other files ({others[0]}, ...); give a new or empty folder with --out")


def made_from(
    sources: Sequence[Source], report: ReadReport, settings: PrepareSettings, tokenizer: str | None
) -> MadeFrom:
    """Return the record of settings and sources.

    report: what was not read of folders; tokenizer: fingerprint of a given one, else None.
    """
    notes = [_note(source, sampled=index < _SAMPLED_SOURCES) for index, source in enumerate(sources)]
    known = [note.bytes for note in notes if note.bytes is not None]
    total = sum(known) if len(known) == len(notes) else None
    rules = resolve_words(settings.tokenizer.chinese_words, settings.tokenizer.words)
    segmentation = {"chinese_words": rules.chinese, "words": rules.others}
    tree: dict[str, Any] = {
        "corpus": settings.corpus.model_dump(mode="json"),
        # The fingerprint of a given tokenizer replaces the settings that a trained one depends on.
        "tokenizer": segmentation
        if tokenizer
        else settings.tokenizer.model_dump(mode="json", exclude={"path"}) | segmentation,
        "shards": settings.shards.model_dump(mode="json") | {"part_bytes": _part_bytes(settings, total)},
    }
    return MadeFrom(
        settings=tree,
        tokenizer=tokenizer,
        sources=SourceNotes(
            count=len(notes),
            bytes=total,
            fingerprint=fingerprint([note.model_dump(exclude={"content"}) for note in notes]),
            contents=fingerprint([note.content for note in notes]),
            listed=tuple(notes[:LISTED_SOURCES]),
            skipped=dict(sorted(report.skipped.items())),
            left_out=tuple(map(path_text, report.left_out[:LISTED_SOURCES])),
        ),
    )


def write_made_from(folder: Path, made: MadeFrom) -> None:
    """Write the record into the folder that is being prepared."""
    write_json(folder / NOTE, made.model_dump(mode="json"))


def read_made_from(folder: Path) -> MadeFrom | None:
    """Read the record of an unfinished folder, or return None. Raises DataError if it is damaged."""
    path = folder / NOTE
    if not path.exists():
        return None
    try:
        return MadeFrom.model_validate_json(path.read_bytes())
    except ValidationError:
        raise DataError(f"{path} is damaged; delete {folder} and prepare it again") from None


def check_same_inputs(folder: Path, old: MadeFrom, new: MadeFrom) -> None:
    """Raise DataError, naming the differences, if a folder is made from other sources or settings."""
    differences = differences_of(old, new)
    if not differences:
        return
    shown = "; ".join(differences[:_SHOWN_DIFFERENCES])
    more = f"; and {len(differences) - _SHOWN_DIFFERENCES} more" if len(differences) > _SHOWN_DIFFERENCES else ""
    raise DataError(
        f"{folder} was made differently: {shown}{more}; give another folder with --out, "
        f"or delete {folder} to prepare it again"
    )


def differences_of(old: MadeFrom, new: MadeFrom) -> list[str]:
    """Return the differences, one clause each; none if `new` can resume `old`. Skipped files do not matter."""
    recorded, now = flatten(old.settings), flatten(new.settings)
    # A setting that was added since had no effect then, which is what its default means.
    before = {key: value for key, value in _DEFAULTS.items() if key in now} | recorded
    if old.tokenizer != new.tokenizer:
        # Other differences in [tokenizer] follow from this one.
        before, now = ({k: v for k, v in tree.items() if not k.startswith("tokenizer.")} for tree in (before, now))
        lines = [f"its tokenizer was {_tokenizer(old)}, now it is {_tokenizer(new)}"]
    else:
        lines = []
    for key in dict.fromkeys([*before, *now]):
        # Its default depends on what is installed, and folders of earlier versions go on without it.
        if key == "tokenizer.words" and key not in recorded:
            continue
        if before.get(key) != now.get(key):
            lines.append(f"{key} was {before.get(key)!r}, now it is {now.get(key)!r}")
    contents = {old.sources.contents, new.sources.contents}
    if old.sources.fingerprint != new.sources.fingerprint or (len(contents) == 2 and None not in contents):
        lines.append(_source_difference(old.sources, new.sources))
    return lines


def before_training(made: MadeFrom) -> MadeFrom:
    """Return the record without the settings that take effect only after the words are counted."""
    # Words that an earlier version counted are spelled as its normalizer left them.
    before = {} if made.tokenizer else {"normalization": "that of an earlier version"}
    tokenizer = before | {key: value for key, value in made.settings["tokenizer"].items() if key not in _OF_TRAINING}
    return made.model_copy(update={"settings": made.settings | {"tokenizer": tokenizer}})


def _tokenizer(made: MadeFrom) -> str:
    return f"a given one ({made.tokenizer[:8]})" if made.tokenizer else "trained on the corpus"


def _source_difference(old: SourceNotes, new: SourceNotes) -> str:
    for before, now in itertools.zip_longest(old.listed, new.listed):
        if before == now:
            continue
        if before is None or now is None or before.name != now.name:
            return f"its sources were {_listed(old)}, now they are {_listed(new)}"
        if before.bytes != now.bytes:
            return f"{now.name} had {before.bytes} bytes, now it has {now.bytes}"
        return f"{now.name} has changed since"
    return f"its {old.count} sources are not the {new.count} given now"


def _listed(sources: SourceNotes) -> str:
    first = sources.listed[0].name if sources.listed else "none"
    return first if sources.count <= 1 else f"{sources.count} ({first}, ...)"


def _note(source: Source, sampled: bool) -> SourceNote:
    sample = content = None
    if source.location.startswith("python-docs:"):
        sample = xxhash.xxh3_128_hexdigest(sys.version.encode())  # other Python versions have other documentation
    if sampled and source.size:
        try:
            with Path(source.location).open("rb") as file:
                digest = xxhash.xxh3_128(file.read(_SAMPLE_BYTES))
                file.seek(max(0, source.size - _SAMPLE_BYTES), os.SEEK_SET)
                digest.update(file.read(_SAMPLE_BYTES))
                sample = digest.hexdigest()
            # At about 1 GB per second (0.9 on a busy machine), a small part of the time that reading the text takes.
            content = checksum(Path(source.location))
        except (OSError, ValueError):
            pass  # an address, or unreadable: the reader reports it
    return SourceNote(name=path_text(source.location), bytes=source.size, sample=sample, content=content)


def _part_bytes(settings: PrepareSettings, total: int | None) -> int:
    if settings.shards.part_bytes != "auto":
        return settings.shards.part_bytes
    if total is None:
        return _UNKNOWN_PART_BYTES
    least, most = _AUTO_PART_BYTES
    # Enough parts to keep many cores busy, few enough that a large corpus does not become thousands of files.
    return max(least, min(most, total // _AUTO_PARTS))
