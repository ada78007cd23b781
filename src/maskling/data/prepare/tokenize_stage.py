"""The third stage of `prepare`: tokenize each part of text into a shard of the train split and one of validation."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from maskling.arrays import BoolArray, Int64Array
from maskling.data.manifest import (
    SHARD_ARRAYS,
    SHARDS,
    Checksum,
    Count,
    ShardArrays,
    ShardInfo,
    dtype_for,
    shard_file,
    write_shard,
)
from maskling.data.prepare.events import ShardWritten
from maskling.data.prepare.parts import TextPart, read_note, read_part, write_note
from maskling.data.prepare.workers import Workers, in_order
from maskling.data.shards import TOKENIZER
from maskling.errors import DataError
from maskling.files import checksum
from maskling.grouping import grouped
from maskling.tokenizer.encoding import Encoded
from maskling.tokenizer.segmentation import SCRIPTS, count_scripts
from maskling.tokenizer.settings import ChineseWords, OtherWords
from maskling.tokenizer.tokenizer import Tokenizer

_BATCH_CHARACTERS = 1 << 20


class TokenizeJob(BaseModel):
    """Everything that determines the shards of a part. text: checksum of its text; below: limit of digests held out.

    segmenters: the libraries that find words in scripts without spaces, with their versions.

    Field names are those of the JSON on disk.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    text: Checksum
    tokenizer: Checksum
    chinese_words: ChineseWords
    words: OtherWords = "spaces"
    segmenters: tuple[str, ...] = ()
    below: int


class EncodedPart(BaseModel):
    """The note of the shards of a part; None for a split without text.

    ids: of the train split; counts: occurrences of each; scripts: characters of each script without spaces. Field
    names are those of the JSON on disk.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    job: TokenizeJob
    train: ShardInfo | None
    validation: ShardInfo | None
    ids: tuple[Count, ...]
    counts: tuple[Count, ...]
    scripts: dict[str, Count] = Field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of both splits."""
        return sum(shard.tokens for shard in (self.train, self.validation) if shard is not None)


def tokenize(
    folder: Path, parts: Sequence[TextPart], tokenizer: Tokenizer, limit: int, workers: Workers
) -> Generator[ShardWritten, None, tuple[list[EncodedPart], Int64Array]]:
    """Write the shards of every part that does not have them yet.

    limit: documents with smaller digests are held out.
    Returns the notes in order, and how often each id occurs in the train split, (vocab_size,) int64.
    """
    rules = tokenizer.words
    segmenters = tuple(sorted({rules.segmenter(script) or "" for script in SCRIPTS} - {""}))
    jobs = [
        TokenizeJob(
            text=part.text,
            tokenizer=tokenizer.fingerprint,
            chinese_words=rules.chinese,
            words=rules.others,
            segmenters=segmenters,
            below=limit,
        )
        for part in parts
    ]
    calls = ((folder, part, job) for part, job in zip(parts, jobs, strict=True))
    done: list[EncodedPart] = []
    counts = np.zeros(tokenizer.vocab_size, np.int64)
    tokens = 0
    for encoded in in_order(workers, encode_part, calls):
        counts[np.array(encoded.ids, np.int64)] += np.array(encoded.counts, np.int64)
        # Kept for all parts, they would take seven gigabytes for a hundred gigabytes of text.
        done.append(encoded.model_copy(update={"ids": (), "counts": ()}))
        tokens += encoded.tokens
        yield ShardWritten(len(done), len(parts), tokens)
    return done, counts


def encode_part(folder: Path, part: TextPart, job: TokenizeJob) -> EncodedPart:
    """Write the shards of a part, unless they exist undamaged. Raises DataError if its text is damaged."""
    note = folder / SHARDS / f"{part.number:05d}.json"
    found = _existing(folder, note, job)
    if found is not None:
        return found
    tokenizer = _tokenizer(folder / TOKENIZER, job.chinese_words, job.words, job.tokenizer)
    scripts: Counter[str] = Counter()
    train, validation = _Columns(tokenizer.vocab_size), _Columns(tokenizer.vocab_size)
    for documents in grouped(read_part(folder, part), lambda document: len(document["text"]), _BATCH_CHARACTERS):
        pieces, document = _sentences(documents)
        tokens = tokenizer.encode_flat(pieces)
        scripts.update(count_scripts([each["text"] for each in documents]))
        held_out = np.array([int(each["digest"], 16) < job.below for each in documents])[document]
        train.add(tokens, document, ~held_out)
        validation.add(tokens, document, held_out)
    shards = [
        write_shard(folder, f"{name}-{part.number:05d}", columns.arrays()) if columns.num_tokens else None
        for name, columns in (("train", train), ("validation", validation))
    ]
    present = np.flatnonzero(train.counts)
    encoded = EncodedPart(
        job=job,
        train=shards[0],
        validation=shards[1],
        ids=tuple(present.tolist()),
        counts=tuple(train.counts[present].tolist()),
        scripts=dict(scripts),
    )
    write_note(note, encoded)
    return encoded


class _Columns:
    """The arrays of one shard, growing."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._tokens = [np.zeros(0, dtype_for(vocab_size))]
        self._word_starts = [np.zeros(0, np.bool_)]
        self._sentences = [np.zeros(0, np.int64)]
        self._documents = [np.zeros(0, np.int64)]
        self.counts = np.zeros(vocab_size, np.int64)
        self.num_tokens = 0

    def add(self, encoded: Encoded, document: Int64Array, chosen: BoolArray) -> None:
        """Add the chosen sentences, without empty sentences and empty documents.

        document: (sentences,) int64, non-decreasing, the document of each sentence; chosen: (sentences,) bool.
        """
        lengths = np.diff(encoded.offsets)
        chosen = chosen & (lengths > 0)
        if not chosen.any():
            return
        tokens = np.repeat(chosen, lengths)
        ids = encoded.ids[tokens]
        self._tokens.append(ids.astype(dtype_for(self._vocab_size)))
        self._word_starts.append(encoded.word_starts[tokens])
        self._sentences.append(lengths[chosen])
        self._documents.append(np.unique(document[chosen], return_counts=True)[1])
        self.counts += np.bincount(ids, minlength=self._vocab_size)
        self.num_tokens += len(ids)

    def arrays(self) -> ShardArrays:
        """Return the complete shard."""
        return ShardArrays.of(
            self._vocab_size,
            np.concatenate(self._tokens),
            np.concatenate(self._word_starts),
            np.concatenate(self._sentences),
            np.concatenate(self._documents),
        )


def _existing(folder: Path, note: Path, job: TokenizeJob) -> EncodedPart | None:
    found = read_note(note, EncodedPart)
    if found is None or found.job != job:
        return None
    for shard in filter(None, (found.train, found.validation)):
        for part in SHARD_ARRAYS:
            path = shard_file(folder, shard.name, part)
            if not path.is_file() or checksum(path) != getattr(shard.checksums, part):
                return None
    return found


def _sentences(documents: Sequence[dict[str, Any]]) -> tuple[list[str], Int64Array]:
    """Return the sentences of some documents as slices of their text, and the document of each, (sentences,) int64."""
    pieces: list[str] = []
    for document in documents:
        text, start = document["text"], 0
        for length in document["sentences"]:
            pieces.append(text[start : start + length])
            start += length
    counts = [len(document["sentences"]) for document in documents]
    return pieces, np.repeat(np.arange(len(documents)), counts)


@functools.lru_cache(maxsize=1)
def _tokenizer(folder: Path, chinese_words: ChineseWords, words: OtherWords, fingerprint: str) -> Tokenizer:
    """Load the tokenizer once per worker; it keeps its cache of words from part to part."""
    tokenizer = Tokenizer.load(folder, chinese_words, words)
    if tokenizer.fingerprint != fingerprint:
        raise DataError(f"{folder} is not the tokenizer that this preparation started with; delete it and run again")
    return tokenizer
