"""A prepared folder, read: tokens by the span, offsets by the block.

Opening reads the manifest and the headers of the files; tokens stay on disk, mapped into memory,
until a span is asked for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.data.manifest import (
    FILES,
    SHARDS,
    SPLITS,
    Manifest,
    ShardArrays,
    ShardInfo,
    SplitName,
    check_offsets,
    check_shard,
    load_manifest,
    map_part,
    map_shard,
)
from maskling.data.npy import AGAIN, map_array
from maskling.errors import DataError
from maskling.files import checksum

# FOLDED DOCS
# [mapped] Arrays of shards that are mapped into memory when they are needed, and let go when too many are. Each mapped array keeps a file open, so a corpus of hundreds of shards would run into the usual limit of 1,024 open files. The maps used last stay; making one again costs some ten microseconds.


@dataclass(frozen=True)
class OnDisk:
    """Where the files of a shard lie, and what must be in them."""

    folder: Path
    shard: ShardInfo
    vocab_size: int


class Mapped:
    """The arrays of some shards, by place and part. Sent to another process it carries names, not maps."""

    def __init__(self, shards: Sequence[OnDisk | ShardArrays], files_max: int | None = None) -> None:
        """files_max: how many files to keep open; left out, a share of what the system allows."""
        self.shards = tuple(shards)
        self._files_max = files_max or _open_files_max()
        self._forget()

    def __len__(self) -> int:
        return len(self.shards)

    def name(self, place: int) -> str:
        """What to call a shard in an error."""
        shard = self.shards[place]
        return str(shard.folder / SHARDS / shard.shard.name) if isinstance(shard, OnDisk) else f"shard {place}"

    def array(self, place: int, part: str) -> np.ndarray:
        """One of the four arrays of a shard. Raises DataError if its file is gone or changed."""
        shard = self.shards[place]
        if isinstance(shard, ShardArrays):
            array: np.ndarray = getattr(shard, part)
            return array
        key = (place, part)
        with self._lock:
            found = self._maps.get(key)
            if found is None:
                found = self._maps[key] = map_part(shard.folder, shard.shard, shard.vocab_size, part)
                if len(self._maps) > self._files_max:
                    self._maps.popitem(last=False)
            else:
                self._maps.move_to_end(key)
            return found

    def arrays(self, place: int) -> ShardArrays:
        """All four arrays of a shard. Raises DataError if a file is gone or changed."""
        tokens, words, sentences, documents = (self.array(place, part) for part in FILES)
        return ShardArrays(tokens, words, sentences, documents)

    def let_go(self, place: int) -> None:
        """Unmap what nobody holds of a shard: what was read of it no longer counts as memory of this process."""
        with self._lock:
            for part in FILES:
                self._maps.pop((place, part), None)

    def _forget(self) -> None:
        self._maps: OrderedDict[tuple[int, str], np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "_files_max": self._files_max}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def _open_files_max() -> int:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 16
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    # A quarter of what the process may open: there are two splits, and others need files too.
    return 1 << 16 if files == resource.RLIM_INFINITY else max(4, min(files // 4, 1 << 16))


COUNTS = "counts.npy"
TOKENIZER = "tokenizer"


@dataclass(frozen=True)
class Block:
    """One shard of a split; its arrays are mapped when they are asked for, so that many blocks can be kept.

    first_token, first_sentence, first_document: how many of each lie before it in the split.
    """

    first_token: int
    first_sentence: int
    first_document: int
    _mapped: Mapped
    _place: int

    @property
    def tokens(self) -> np.ndarray:
        """(T,) uint16 or uint32."""
        return self._mapped.array(self._place, "tokens")

    @property
    def sentences(self) -> Int64Array:
        """(S+1,) int64, where each sentence starts in `tokens`, and where the last one ends."""
        return self._mapped.array(self._place, "sentences")

    @property
    def documents(self) -> Int64Array:
        """(D+1,) int64, the first sentence of each document of the block, and how many sentences there are."""
        return self._mapped.array(self._place, "documents")

    def word_starts(self) -> BoolArray:
        """(T,) bool, which tokens of the block start a word."""
        packed = self._mapped.array(self._place, "words")
        return np.unpackbits(packed, count=len(self.tokens)).view(np.bool_)


class Split:
    """The shards of one split as one long text: tokens, sentences and documents counted from its start."""

    def __init__(self, shards: Sequence[OnDisk | ShardArrays]) -> None:
        self._shards = Mapped(shards)
        counts = np.array([_counts(shard) for shard in shards], np.int64).reshape(len(shards), 3)
        self._first_token, self._first_sentence, self._first_document = (offsets_of(column) for column in counts.T)
        self.num_tokens = int(self._first_token[-1])
        self.num_sentences = int(self._first_sentence[-1])
        self.num_documents = int(self._first_document[-1])

    def blocks(self) -> Iterator[Block]:
        """Each shard in order, unmapped when the next is asked for. Raises DataError where its offsets are damaged."""
        for place in range(len(self._shards)):
            check_offsets(self._shards.arrays(place), self._shards.name(place))
            yield Block(
                first_token=int(self._first_token[place]),
                first_sentence=int(self._first_sentence[place]),
                first_document=int(self._first_document[place]),
                _mapped=self._shards,
                _place=place,
            )
            self._shards.let_go(place)

    def gather(self, starts: Int64Array, lengths: np.ndarray) -> tuple[np.ndarray, BoolArray]:
        """The tokens of spans, end to end in the order asked.

        starts: (n,) int64, counted from the start of the split; lengths: (n,) integers. No span crosses a shard.
        Returns tokens (lengths.sum(),) uint16 or uint32 and word starts (lengths.sum(),) bool.
        Raises IndexError for a span that is not within one shard.
        """
        starts, lengths = np.asarray(starts, np.int64), np.asarray(lengths, np.int64)
        shard = np.searchsorted(self._first_token, starts, side="right") - 1
        # An empty span may stand at the very end, where no shard begins.
        shard = np.minimum(shard, len(self._shards) - 1)
        if starts.size and (
            starts.min() < 0 or lengths.min() < 0 or np.any(starts + lengths > self._first_token[shard + 1])
        ):
            raise IndexError("a span reaches beyond its shard")
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
        # Laid out shard by shard; now back into the order asked.
        placed = np.empty(len(order), np.int64)
        placed[order] = offsets_of(lengths[order])[:-1]
        back = ragged(placed, lengths)
        return tokens[back], words[back]

    def _gather(self, place: int, starts: Int64Array, lengths: Int64Array) -> tuple[np.ndarray, BoolArray]:
        """Spans of one shard. starts: counted from the start of the shard."""
        tokens = self._shards.array(place, "tokens")[ragged(starts, lengths)]
        # Whole bytes first, an eighth as many; then the bits that were asked for out of the unpacked ones.
        first = starts >> 3
        num_bytes = ((starts + lengths + 7) >> 3) - first
        unpacked = np.unpackbits(self._shards.array(place, "words")[ragged(first, num_bytes)])
        bits = ragged(offsets_of(num_bytes)[:-1] * 8 + (starts & 7), lengths)
        return tokens, unpacked[bits].view(np.bool_)


class Shards:
    """A prepared folder that was opened."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.tokenizer_folder = folder / TOKENIZER

    def split(self, name: SplitName) -> Split:
        """The train or the validation split."""
        shards = self.manifest.shards(name)
        return Split([OnDisk(self.folder, shard, self.manifest.vocab_size) for shard in shards])

    @cached_property
    def counts(self) -> Int64Array:
        """(vocab_size,) int64, how often each id occurs in the train split. Raises DataError if damaged."""
        path = self.folder / COUNTS
        counts = map_array(path, np.dtype(np.int64), self.manifest.vocab_size)
        if checksum(path) != self.manifest.counts:
            raise DataError(f"{path} is damaged: its checksum is not the one in the manifest; {AGAIN}")
        return np.array(counts)


def open_shards(folder: Path, verify: bool = False) -> Shards:
    """Open a prepared folder; `verify` reads every byte and compares it with the checksums.

    Raises DataError when something is missing, damaged or not what the manifest says.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    shards = Shards(folder, manifest)
    look = check_shard if verify else map_shard
    for name in SPLITS:
        for shard in manifest.shards(name):
            look(folder, shard, manifest.vocab_size)
    if verify and int(shards.counts.sum()) != sum(shard.tokens for shard in manifest.shards("train")):
        raise DataError(f"{folder / COUNTS} does not count the tokens of the shards; {AGAIN}")
    return shards


def in_memory(
    documents: Sequence[Sequence[Sequence[int]]],
    words: Sequence[Sequence[Sequence[bool]]] | None = None,
    documents_per_shard: int | None = None,
) -> Split:
    """A split made of documents of sentences of ids, for small things and tests.

    words: the same shape, which tokens start a word (all of them, if left out).
    documents_per_shard: how many documents share a shard (all of them, if left out).
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
    """[starts[0], starts[0]+1, ...] for lengths[0] numbers, then the same for the next: (lengths.sum(),) int64."""
    before = offsets_of(lengths)
    index = np.repeat(starts - before[:-1], lengths)
    index += np.arange(before[-1])
    return index


def _counts(shard: OnDisk | ShardArrays) -> tuple[int, int, int]:
    if isinstance(shard, OnDisk):
        return shard.shard.tokens, shard.shard.sentences, shard.shard.documents
    return len(shard.tokens), len(shard.sentences) - 1, len(shard.documents) - 1
