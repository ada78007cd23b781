"""Read a prepared folder: token spans of a split by offset, and sentence and document offsets shard by shard.

    open_shards(folder) -> Shards --split("train")--> Split --gather(starts, lengths)--> tokens, word starts
                                                      Split --blocks()--> Block, one per shard

Opening reads the manifest and the headers of the files. Tokens stay on disk, mapped into memory, until a span is read.
Maps are made when they are needed and dropped when there are too many: each keeps a file open, so a corpus of hundreds
of shards would exceed the usual limit of 1,024 open files. The most recently used maps stay; making one again costs
some ten microseconds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.data.manifest import (
    SHARD_ARRAYS,
    SHARDS,
    SPLITS,
    Manifest,
    ShardArrays,
    ShardInfo,
    SplitName,
    check_offsets,
    check_shard,
    load_manifest,
    map_shard,
    map_shard_array,
    shard_file,
)
from maskling.data.npy import PREPARE_AGAIN, map_array
from maskling.errors import DataError
from maskling.files import checksum

COUNTS = "counts.npy"
TOKENIZER = "tokenizer"


class Shards:
    """An open prepared folder: its manifest, its splits, and the path of its tokenizer."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.tokenizer_folder = folder / TOKENIZER

    def split(self, name: SplitName) -> Split:
        """Return the train split or the validation (held-out) split."""
        shards = self.manifest.shards(name)
        return Split([ShardFiles(self.folder, shard, self.manifest.vocab_size) for shard in shards])

    def first_shard(self, name: SplitName) -> Split:
        """Return the first shard of a split alone, as a sample."""
        shards = self.manifest.shards(name)[:1]
        return Split([ShardFiles(self.folder, shard, self.manifest.vocab_size) for shard in shards])

    @cached_property
    def counts(self) -> Int64Array:
        """(vocab_size,) int64, occurrences of each id in the train split. Raises DataError if damaged."""
        path = self.folder / COUNTS
        counts = map_array(path, np.dtype(np.int64), self.manifest.vocab_size)
        if checksum(path) != self.manifest.counts:
            raise DataError(f"{path} is damaged: its checksum is not the one in the manifest; {PREPARE_AGAIN}")
        return np.array(counts)


def open_shards(folder: Path, verify: bool = False) -> Shards:
    """Open a prepared folder; `verify` reads every byte and compares it with the checksums.

    Raises DataError if something is missing, damaged or does not match the manifest.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    shards = Shards(folder, manifest)
    check = check_shard if verify else map_shard
    for name in SPLITS:
        for shard in manifest.shards(name):
            check(folder, shard, manifest.vocab_size)
    if verify and int(shards.counts.sum()) != sum(shard.tokens for shard in manifest.shards("train")):
        raise DataError(f"{folder / COUNTS} does not match the tokens of the shards; {PREPARE_AGAIN}")
    return shards


class Split:
    """The shards of one split as one long text; tokens, sentences and documents are counted from its start."""

    def __init__(self, shards: Sequence[ShardFiles | ShardArrays]) -> None:
        self._shards = MappedShards(shards)
        counts = np.array([_counts(shard) for shard in shards], np.int64).reshape(len(shards), 3)
        self._first_token, self._first_sentence, self._first_document = (offsets_of(column) for column in counts.T)
        self.num_tokens = int(self._first_token[-1])
        self.num_sentences = int(self._first_sentence[-1])
        self.num_documents = int(self._first_document[-1])

    def blocks(self) -> Iterator[Block]:
        """Yield each shard in order; it is unmapped before the next. Raises DataError if its offsets are damaged."""
        for index in range(len(self._shards)):
            check_offsets(self._shards.arrays(index), self._shards.name(index))
            yield Block(
                first_token=int(self._first_token[index]),
                first_sentence=int(self._first_sentence[index]),
                first_document=int(self._first_document[index]),
                _mapped=self._shards,
                _index=index,
            )
            self._shards.unmap(index)

    def gather(self, starts: Int64Array, lengths: np.ndarray) -> tuple[np.ndarray, BoolArray]:
        """Return the tokens of spans, end to end in the order given.

        starts: (n,) int64, counted from the start of the split; lengths: (n,) integers. No span may cross a shard.
        Returns tokens (lengths.sum(),) uint16 or uint32 and word starts (lengths.sum(),) bool.
        Raises IndexError for a span that is not within one shard.
        """
        starts, lengths = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
        shard = np.searchsorted(self._first_token, starts, side="right") - 1
        # An empty span may begin at the very end, where no shard begins.
        shard = np.minimum(shard, len(self._shards) - 1)
        if starts.size and (
            starts.min() < 0 or lengths.min() < 0 or np.any(starts + lengths > self._first_token[shard + 1])
        ):
            raise IndexError("a span extends beyond its shard")
        local = starts - self._first_token[shard]
        present = np.unique(shard)
        if len(present) <= 1:
            return (
                self._gather(int(present[0]), local, lengths) if len(present) else (np.zeros(0, np.uint16), starts > 0)
            )
        order = np.argsort(shard, kind="stable")
        bounds = np.searchsorted(shard[order], present, side="left")
        pieces = [
            self._gather(int(which), local[spans], lengths[spans])
            for which, spans in zip(present, np.split(order, bounds[1:]), strict=True)
        ]
        tokens = np.concatenate([piece[0] for piece in pieces])
        words = np.concatenate([piece[1] for piece in pieces])
        # The spans are ordered by shard; now back into the order given.
        begins = np.empty(len(order), np.int64)
        begins[order] = offsets_of(lengths[order])[:-1]
        back = ragged(begins, lengths)
        return tokens[back], words[back]

    def _gather(self, index: int, starts: Int64Array, lengths: Int64Array) -> tuple[np.ndarray, BoolArray]:
        """Return spans of one shard. starts: counted from the start of the shard."""
        tokens = self._shards.array(index, "tokens")[ragged(starts, lengths)]
        # Whole bytes first, an eighth as many; then the wanted bits of the unpacked bytes.
        first = starts >> 3
        num_bytes = ((starts + lengths + 7) >> 3) - first
        unpacked = np.unpackbits(self._shards.array(index, "words")[ragged(first, num_bytes)])
        bits = ragged(offsets_of(num_bytes)[:-1] * 8 + (starts & 7), lengths)
        return tokens, unpacked[bits].view(np.bool_)


@dataclass(frozen=True)
class Block:
    """One shard of a split; its arrays are mapped on access, so that many blocks can be kept.

    first_token, first_sentence, first_document: how many of each precede it in the split.
    """

    first_token: int
    first_sentence: int
    first_document: int
    _mapped: MappedShards
    _index: int

    @property
    def tokens(self) -> np.ndarray:
        """(T,) uint16 or uint32, token ids."""
        return self._mapped.array(self._index, "tokens")

    @property
    def sentences(self) -> Int64Array:
        """(S+1,) int64, where each sentence starts in `tokens`, and where the last one ends."""
        return self._mapped.array(self._index, "sentences")

    @property
    def documents(self) -> Int64Array:
        """(D+1,) int64, the first sentence of each document of the block, and the number of sentences."""
        return self._mapped.array(self._index, "documents")

    def word_starts(self) -> BoolArray:
        """Return which tokens of the block start a word, (T,) bool."""
        packed = self._mapped.array(self._index, "words")
        return np.unpackbits(packed, count=len(self.tokens)).view(np.bool_)


def in_memory(
    documents: Sequence[Sequence[Sequence[int]]],
    words: Sequence[Sequence[Sequence[bool]]] | None = None,
    documents_per_shard: int | None = None,
) -> Split:
    """Build a split from documents of sentences of ids, for tests and small experiments.

    words: the same shape, which tokens start a word; default: all of them.
    documents_per_shard: number of documents per shard; default: all of them in one.
    """
    if words is None:
        words = [[[True] * len(sentence) for sentence in document] for document in documents]
    vocab_size = 1 + max((token for document in documents for sentence in document for token in sentence), default=0)
    size = documents_per_shard or max(1, len(documents))
    shards = []
    for first in range(0, len(documents), size):
        some = documents[first : first + size]
        sentences = [sentence for document in some for sentence in document]
        starts = [sentence for document in words[first : first + size] for sentence in document]
        arrays = ShardArrays.of(
            vocab_size,
            tokens=np.array([token for sentence in sentences for token in sentence], np.int64),
            word_starts=np.array([start for sentence in starts for start in sentence], bool),
            sentences=[len(sentence) for sentence in sentences],
            documents=[len(document) for document in some],
        )
        shards.append(arrays)
    return Split(shards)


def ragged(starts: Int64Array, lengths: Int64Array) -> Int64Array:
    """Return [starts[0], starts[0]+1, ...], lengths[0] of them, then the same for the next: (lengths.sum(),) int64."""
    before = offsets_of(lengths)
    index = np.repeat(starts - before[:-1], lengths)
    index += np.arange(before[-1])
    return index


def _counts(shard: ShardFiles | ShardArrays) -> tuple[int, int, int]:
    if isinstance(shard, ShardFiles):
        return shard.shard.tokens, shard.shard.sentences, shard.shard.documents
    return len(shard.tokens), len(shard.sentences) - 1, len(shard.documents) - 1


@dataclass(frozen=True)
class ShardFiles:
    """The folder of a shard, and what its files must contain."""

    folder: Path
    shard: ShardInfo
    vocab_size: int


_Version: TypeAlias = tuple[int, int]


def _version(path: Path) -> _Version | None:
    """Return size and time of the last change of a file, None if it is gone."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


class MappedShards:
    """The arrays of some shards, by index of the shard and name of the array. Pickled, it holds paths and no maps."""

    def __init__(self, shards: Sequence[ShardFiles | ShardArrays], files_max: int | None = None) -> None:
        """files_max: number of files to keep open; default: a share of what the system allows."""
        self.shards = tuple(shards)
        self._files_max = files_max or _open_files_max()
        self._reset()

    def __len__(self) -> int:
        return len(self.shards)

    def name(self, index: int) -> str:
        """Return the name of a shard for an error message."""
        shard = self.shards[index]
        return str(shard.folder / SHARDS / shard.shard.name) if isinstance(shard, ShardFiles) else f"shard {index}"

    def array(self, index: int, part: str) -> np.ndarray:
        """Return one of the four arrays of a shard. Raises DataError if its file is missing or has changed.

        Reading a mapped file that has become shorter would end the process by a signal, without a word (SIGBUS). So the
        file is looked at before each use, one system call without reading; copying from the disk instead of mapping it
        would also copy each span.
        """
        shard = self.shards[index]
        if isinstance(shard, ShardArrays):
            array: np.ndarray = getattr(shard, part)
            return array
        key = (index, part)
        with self._lock:
            path, known = shard_file(shard.folder, shard.shard.name, part), self._maps.get(key)
            version = _version(path)
            if known is None:
                found = map_shard_array(shard.folder, shard.shard, shard.vocab_size, part)
                self._maps[key] = found, version
                if len(self._maps) > self._files_max:
                    self._maps.popitem(last=False)
                return found
            self._maps.move_to_end(key)
            if version not in (known[1], None):  # a deleted file stays as it was mapped
                raise DataError(
                    f"{path} was changed or cut short while it was in use; restore it, or prepare the data again, and "
                    f"run the same command to resume from the last checkpoint"
                )
            return known[0]

    def arrays(self, index: int) -> ShardArrays:
        """Return all four arrays of a shard. Raises DataError if a file is missing or has changed."""
        tokens, words, sentences, documents = (self.array(index, part) for part in SHARD_ARRAYS)
        return ShardArrays(tokens, words, sentences, documents)

    def unmap(self, index: int) -> None:
        """Drop the maps of a shard, so that pages read from it no longer count as memory of this process."""
        with self._lock:
            for part in SHARD_ARRAYS:
                self._maps.pop((index, part), None)

    def _reset(self) -> None:
        self._maps: OrderedDict[tuple[int, str], tuple[np.ndarray, _Version | None]] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "_files_max": self._files_max}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()


def _open_files_max() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 16
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # A quarter of what the process may open: there are two splits, and the rest of the process needs files too.
    return 1 << 16 if files == resource.RLIM_INFINITY else max(4, min(files // 4, 1 << 16))
