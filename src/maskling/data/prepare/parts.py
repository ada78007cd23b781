"""Clean text between the stages: parts of about equal size, each with a note of its contents.

    text/00000.jsonl.zst       one document per line: id, source, text, sentences (lengths in characters), digest
    text/00000.words.json.zst  how often each word occurs in its training documents, to train a vocabulary
    text/00000.seen.npy        (n,) uint64, the digests that were new while it was read
    text/00000.json            the note, written last: a part without it does not exist
    text/end.json              the note after the last part: all text is read

Notes are small JSON records, written after the files that they describe, with the checksums of those files.
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
from maskling.data.npy import PREPARE_AGAIN, map_array, write_array
from maskling.errors import DataError
from maskling.files import atomic_write, checksum, path_text
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.training import count_words

TEXT = "text"
_LEVEL = 1  # the text is read once and deleted

_N = TypeVar("_N", bound=BaseModel)


class ReadCounts(BaseModel):
    """Counts of the documents read for one part, where reading stopped, and the bad files among its sources."""

    model_config = ConfigDict(frozen=True, strict=True)

    source: Count = 0
    document: Count = 0
    read: Count = 0
    kept: Count = 0
    kept_bytes: Count = 0
    rejected: dict[str, Count] = {}
    replaced_bytes: Count = 0
    changes: dict[str, Count] = {}
    encodings: dict[str, Count] = {}
    num_bad_files: Count = 0
    bad_files: tuple[BadFile, ...] = ()
    notes: dict[str, Count] = {}
    templates: dict[str, Count] = {}

    @property
    def position(self) -> ReadPosition:
        """The position to resume reading from."""
        return ReadPosition(self.source, self.document)


class TextPart(BaseModel):
    """The note of a part. text, words, seen: checksums of its files; digests: the smallest and the largest.

    Field names are those of the JSON on disk.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    number: Count
    tally: ReadCounts
    text: Checksum
    words: Checksum | None
    num_seen: Count
    seen: Checksum
    digests: tuple[int, int]


class EndNote(BaseModel):
    """The note after the last of `parts` parts. tally: counts of what was read after it."""

    model_config = ConfigDict(frozen=True, strict=True)

    parts: Count
    tally: ReadCounts


def write_part(
    folder: Path,
    number: int,
    documents: Sequence[CleanDocument],
    seen: Sequence[int],
    tally: ReadCounts,
    counting: TokenizerSettings | None,
    held_out_limit: int,
) -> TextPart:
    """Write a part, then its note.

    counting: settings to count words with, None for a given tokenizer. Words of documents with digests below
    `held_out_limit` are not counted.
    """
    digests = [document.digest for document in documents]
    words = None
    if counting is not None:
        trained = [document.text for document in documents if document.digest >= held_out_limit]
        # A part without training documents (a corpus of two poems) counts all it has: better than no words.
        counts = count_words(trained or [document.text for document in documents], counting)
        words = _write_compressed(_words_file(folder, number), [orjson.dumps(counts)])
    part = TextPart(
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


def write_end(folder: Path, end: EndNote) -> None:
    """Write the note that all text is read."""
    write_note(folder / TEXT / "end.json", end)


def finished_parts(folder: Path) -> tuple[list[TextPart], EndNote | None]:
    """Return the parts up to the first that is missing or damaged, and the end note if these are all of them."""
    parts: list[TextPart] = []
    while (part := read_note(_note_file(folder, len(parts)), TextPart)) is not None and _is_whole(folder, part):
        parts.append(part)
    end = read_note(folder / TEXT / "end.json", EndNote)
    return parts, end if end is not None and end.parts == len(parts) else None


def has_parts(folder: Path) -> bool:
    """Return whether any part was finished."""
    return _note_file(folder, 0).exists()


def read_part(folder: Path, part: TextPart) -> Iterator[dict[str, Any]]:
    """Yield the documents of a part: id, source, text, sentences, digest. Raises DataError if it is damaged."""
    for line in io.BufferedReader(_open_compressed(text_file(folder, part.number), part.text), 1 << 20):
        yield orjson.loads(line)


def read_words(folder: Path, part: TextPart) -> dict[str, int]:
    """Return how often each word occurs in a part. Raises DataError if it is damaged."""
    if part.words is None:
        return {}
    counts: dict[str, int] = orjson.loads(_open_compressed(_words_file(folder, part.number), part.words).read())
    return counts


def read_digests(folder: Path, part: TextPart) -> list[int]:
    """Return the digests that were new while a part was read. Raises DataError if they are damaged."""
    digests: list[int] = map_array(_seen_file(folder, part.number), np.dtype(np.uint64), part.num_seen).tolist()
    return digests


def text_file(folder: Path, number: int) -> Path:
    """Return the path of the text of a part."""
    return folder / TEXT / f"{number:05d}.jsonl.zst"


def _words_file(folder: Path, number: int) -> Path:
    return folder / TEXT / f"{number:05d}.words.json.zst"


def _seen_file(folder: Path, number: int) -> Path:
    return folder / TEXT / f"{number:05d}.seen.npy"


def _note_file(folder: Path, number: int) -> Path:
    return folder / TEXT / f"{number:05d}.json"


def _is_whole(folder: Path, part: TextPart) -> bool:
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
        "digest": f"{document.digest:016x}",  # as text: many JSON readers would round a number of 64 bits
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
        raise DataError(f"{path} is damaged: its checksum is not the one in its note; {PREPARE_AGAIN}")
    return zstandard.ZstdDecompressor().stream_reader(raw)


def write_note(path: Path, note: BaseModel) -> None:
    """Write a note atomically."""
    with atomic_write(path) as file:
        file.write(orjson.dumps(note.model_dump(mode="json")))


def read_note(path: Path, kind: type[_N]) -> _N | None:
    """Return a note, or None if it is missing or invalid: then its files are ignored."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
