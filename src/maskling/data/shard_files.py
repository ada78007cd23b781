"""One shard on disk: four arrays, in `shards/NAME.{tokens,words,sentences,documents}.npy`.

tokens     (T,) uint16 or uint32   the ids, all documents end to end, no special tokens
words      (ceil(T/8),) uint8      one bit a token, first token in the highest bit: starts a word
sentences  (S+1,) int64            where each sentence starts in `tokens`; the last is T
documents  (D+1,) int64            where each document starts, counted in sentences; the last is S
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskling.arrays import BoolArray, Int64Array
from maskling.data.array_files import AGAIN, map_array, write_array
from maskling.data.manifest import Checksums, ShardInfo, dtype_for
from maskling.errors import DataError
from maskling.files import checksum

SHARDS = "shards"
FILES = ("tokens", "words", "sentences", "documents")


@dataclass(frozen=True)
class ShardArrays:
    """The four arrays of a shard, shapes and types as this module's docstring says."""

    tokens: np.ndarray
    words: NDArray[np.uint8]
    sentences: Int64Array
    documents: Int64Array

    @classmethod
    def of(
        cls,
        vocab_size: int,
        tokens: np.ndarray,
        word_starts: BoolArray,
        sentences: np.ndarray | Sequence[int],
        documents: np.ndarray | Sequence[int],
    ) -> ShardArrays:
        """From what a shard holds.

        tokens: (T,) integers; word_starts: (T,) bool; sentences: (S,) tokens in each;
        documents: (D,) sentences in each.
        """
        ids = tokens.astype(dtype_for(vocab_size))
        return cls(ids, np.packbits(word_starts), _offsets(sentences), _offsets(documents))


def write_shard(folder: Path, name: str, arrays: ShardArrays) -> ShardInfo:
    """Write the files of shard `name` into `folder/shards`, each whole or not at all."""
    sums = {part: write_array(shard_file(folder, name, part), getattr(arrays, part)) for part in FILES}
    return ShardInfo(
        name=name,
        documents=len(arrays.documents) - 1,
        sentences=len(arrays.sentences) - 1,
        tokens=len(arrays.tokens),
        checksums=Checksums(**sums),
    )


def map_shard(folder: Path, shard: ShardInfo, vocab_size: int) -> ShardArrays:
    """Map a shard into memory. Raises DataError when a file is not what the manifest says it is."""
    tokens, words, sentences, documents = (map_part(folder, shard, vocab_size, part) for part in FILES)
    return ShardArrays(tokens, words, sentences, documents)


def map_part(folder: Path, shard: ShardInfo, vocab_size: int, part: str) -> np.ndarray:
    """Map one array of a shard into memory. Raises DataError when its file is not what the manifest says it is."""
    dtype, length = {
        "tokens": (dtype_for(vocab_size), shard.tokens),
        "words": (np.dtype(np.uint8), -(-shard.tokens // 8)),
        "sentences": (np.dtype(np.int64), shard.sentences + 1),
        "documents": (np.dtype(np.int64), shard.documents + 1),
    }[part]
    return map_array(shard_file(folder, shard.name, part), dtype, length)


def check_offsets(arrays: ShardArrays, where: str) -> None:
    """Sentences must divide the tokens, and documents the sentences, in order. Raises DataError."""
    for part, offsets, end in (
        ("sentences", arrays.sentences, len(arrays.tokens)),
        ("documents", arrays.documents, len(arrays.sentences) - 1),
    ):
        if offsets[0] != 0 or offsets[-1] != end or np.any(offsets[1:] < offsets[:-1]):
            raise DataError(f"{where}.{part}.npy is damaged: its offsets do not run in order from 0 to {end}; {AGAIN}")


def check_shard(folder: Path, shard: ShardInfo, vocab_size: int) -> ShardArrays:
    """Read every byte of a shard: checksums, offsets, ids. Raises DataError; returns the mapped arrays."""
    arrays = map_shard(folder, shard, vocab_size)
    for part in FILES:
        path = shard_file(folder, shard.name, part)
        if checksum(path) != getattr(shard.checksums, part):
            raise DataError(f"{path} is damaged: its checksum is not the one in the manifest; {AGAIN}")
    check_offsets(arrays, str(folder / SHARDS / shard.name))
    if shard.tokens and int(arrays.tokens.max()) >= vocab_size:
        path = shard_file(folder, shard.name, "tokens")
        raise DataError(f"{path} is damaged: it holds an id that the vocabulary of {vocab_size} lacks; {AGAIN}")
    return arrays


def shard_file(folder: Path, name: str, part: str) -> Path:
    """Where one array of a shard lies."""
    return folder / SHARDS / f"{name}.{part}.npy"


def _offsets(lengths: Sequence[int] | np.ndarray) -> Int64Array:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets
