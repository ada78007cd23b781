"""Cleaned text between the stages: parts of about equal size, each with a note of what it holds.

text/00000.jsonl.zst       a document a line: id, source, text, sentences (lengths in characters), digest
text/00000.words.json.zst  how often each word occurs in its training documents, to train a vocabulary
text/00000.seen.npy        (n,) uint64, the digests that became known while it was read
text/00000.json            the note, written last: a part without it does not exist
text/end.json              the note of what came after the last part: all text is read
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import orjson
import xxhash
import zstandard
from pydantic import BaseModel, ConfigDict, ValidationError

from maskling.corpus.pipeline import CleanDocument
from maskling.corpus.reading import ReadPosition
from maskling.data.manifest import BadFile, Checksum, Count
from maskling.data.npy import AGAIN, map_array, write_array
from maskling.errors import DataError
from maskling.files import atomic_write, checksum, path_text
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.training import count_words

# FOLDED DOCS
# [notes] Notes: small records that say that the files beside them are whole; written after those.


TEXT = "text"
_LEVEL = 1  # the text is read once and deleted


class Tally(BaseModel):
    """What was read for one part: counts, where it ended, and the reports of the sources that ended in it."""

    model_config = ConfigDict(frozen=True, strict=True)

    source: Count = 0
    document: Count = 0
    read: Count = 0
    kept: Count = 0
    kept_bytes: Count = 0
    rejected: dict[str, Count] = {}
    replaced_bytes: Count = 0
    num_bad_files: Count = 0
    bad_files: tuple[BadFile, ...] = ()

    @property
    def position(self) -> ReadPosition:
        """Where to go on reading after this."""
        return ReadPosition(self.source, self.document)


class Part(BaseModel):
    """A part and its files. digests: the smallest and the largest of its documents; seen: (count, checksum)."""

    model_config = ConfigDict(frozen=True, strict=True)

    number: Count
    tally: Tally
    text: Checksum
    words: Checksum | None
    num_seen: Count
    seen: Checksum
    digests: tuple[int, int]


class End(BaseModel):
    """After so many parts the text ended. tally: what was read after the last part."""

    model_config = ConfigDict(frozen=True, strict=True)

    parts: Count
    tally: Tally


def write_part(
    folder: Path,
    number: int,
    documents: Sequence[CleanDocument],
    seen: Sequence[int],
    tally: Tally,
    counting: TokenizerSettings | None,
    held_out_below: int,
) -> Part:
    """Write a part. counting: count words with these settings; held_out_below: not of documents with such digests."""
    digests = [document.digest for document in documents]
    words = None
    if counting is not None:
        trained = [document.text for document in documents if document.digest >= held_out_below]
        # A part with nothing to train on (a corpus of two poems) counts all it has: better than no words.
        counts = count_words(trained or [document.text for document in documents], counting)
        words = _write_compressed(_words_file(folder, number), [orjson.dumps(counts)])
    part = Part(
        number=number,
        tally=tally,
        text=_write_compressed(text_file(folder, number), map(_line, documents)),
        words=words,
        num_seen=len(seen),
        seen=write_array(_seen_file(folder, number), np.array(seen, np.uint64)),
        digests=(min(digests), max(digests)),
    )
    write_note(_note_file(folder, number), part)
    return part


def write_end(folder: Path, end: End) -> None:
    """Note that all text is read."""
    write_note(folder / TEXT / "end.json", end)


def whole_parts(folder: Path) -> tuple[list[Part], End | None]:
    """The parts up to the first that is missing or damaged, and the end if that is all of them."""
    parts: list[Part] = []
    while (part := read_note(_note_file(folder, len(parts)), Part)) is not None and _is_whole(folder, part):
        parts.append(part)
    end = read_note(folder / TEXT / "end.json", End)
    return parts, end if end is not None and end.parts == len(parts) else None


def has_parts(folder: Path) -> bool:
    """Whether anything was finished."""
    return _note_file(folder, 0).exists()


def read_documents(folder: Path, part: Part) -> Iterator[dict[str, Any]]:
    """The documents of a part: id, source, text, sentences, digest. Raises DataError if it is damaged."""
    for line in io.BufferedReader(_open_compressed(text_file(folder, part.number), part.text), 1 << 20):
        yield orjson.loads(line)


def read_words(folder: Path, part: Part) -> dict[str, int]:
    """How often each word occurs in a part. Raises DataError if it is damaged."""
    if part.words is None:
        return {}
    counts: dict[str, int] = orjson.loads(_open_compressed(_words_file(folder, part.number), part.words).read())
    return counts


def read_seen(folder: Path, part: Part) -> list[int]:
    """The digests that became known while a part was read. Raises DataError if they are damaged."""
    digests: list[int] = map_array(_seen_file(folder, part.number), np.dtype(np.uint64), part.num_seen).tolist()
    return digests


def text_file(folder: Path, number: int) -> Path:
    """Where the text of a part lies."""
    return folder / TEXT / f"{number:05d}.jsonl.zst"


def _words_file(folder: Path, number: int) -> Path:
    return folder / TEXT / f"{number:05d}.words.json.zst"


def _seen_file(folder: Path, number: int) -> Path:
    return folder / TEXT / f"{number:05d}.seen.npy"


def _note_file(folder: Path, number: int) -> Path:
    return folder / TEXT / f"{number:05d}.json"


def _is_whole(folder: Path, part: Part) -> bool:
    files = [(text_file(folder, part.number), part.text), (_seen_file(folder, part.number), part.seen)]
    if part.words is not None:
        files.append((_words_file(folder, part.number), part.words))
    return all(path.is_file() and checksum(path) == expected for path, expected in files)


def _line(document: CleanDocument) -> bytes:
    fields = {
        "id": path_text(document.id),
        "source": path_text(document.source),
        "text": document.text,
        "sentences": document.sentences,
        "digest": f"{document.digest:016x}",  # in full: as a number, many JSON readers would round it
    }
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _write_compressed(path: Path, pieces: Iterable[bytes]) -> str:
    digest = xxhash.xxh3_128()
    compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
    with atomic_write(path) as file:
        for piece in pieces:
            block = compressor.compress(piece)
            digest.update(block)
            file.write(block)
        block = compressor.flush()
        digest.update(block)
        file.write(block)
    return digest.hexdigest()


def _open_compressed(path: Path, expected: str) -> zstandard.ZstdDecompressionReader:
    raw = path.read_bytes()
    if xxhash.xxh3_128_hexdigest(raw) != expected:
        raise DataError(f"{path} is damaged: its checksum is not the one in its note; {AGAIN}")
    return zstandard.ZstdDecompressor().stream_reader(raw)


N = TypeVar("N", bound=BaseModel)


def write_note(path: Path, note: BaseModel) -> None:
    """Write a note, whole or not at all."""
    with atomic_write(path) as file:
        file.write(orjson.dumps(note.model_dump(mode="json")))


def read_note(path: Path, kind: type[N]) -> N | None:
    """A note, or None where there is none or it cannot be understood: then its files count for nothing."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
