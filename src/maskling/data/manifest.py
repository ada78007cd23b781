"""The format of a prepared folder: `manifest.json`, and the four arrays of each shard.

The manifest is written last, and nothing in it is trusted unchecked. A folder may come from anywhere, so every count
is bounded, every shard name is a plain word that cannot lead out of the folder, and what the manifest claims about a
file is compared with the file.

A shard is four files, `shards/NAME.{tokens,words,sentences,documents}.npy`:

    tokens     (T,) uint16 or uint32     token ids, all documents end to end, without special tokens
    words      (ceil(T/8),) uint8        one bit per token, first token in the highest bit: starts a word
    sentences  (S+1,) int64              where each sentence starts in `tokens`; the last entry is T
    documents  (D+1,) int64              where each document starts, counted in sentences; the last entry is S
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maskling.arrays import BoolArray, Int64Array, offsets_of
from maskling.data.npy import PREPARE_AGAIN, map_array, write_array
from maskling.errors import DataError
from maskling.files import checksum, fingerprint, write_json
from maskling.tokenizer.changes import ScriptChanges
from maskling.tokenizer.settings import ChineseWords, OtherWords

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 256 << 20  # 100 times what 10 GB of text needs
SHARDS = "shards"
SHARD_ARRAYS = ("tokens", "words", "sentences", "documents")
UINT16_VOCAB_MAX = 65_535

SplitName = Literal["train", "validation"]
SPLITS: tuple[SplitName, ...] = ("train", "validation")

Count = Annotated[int, Field(ge=0, lt=1 << 48)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ShardName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")]


class _Record(BaseModel):
    # Unknown keys are ignored: a field may be added without a new format version, a changed meaning needs one.
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class Checksums(_Record):
    """The xxh3-128 of each file of a shard."""

    tokens: Checksum
    words: Checksum
    sentences: Checksum
    documents: Checksum


class ShardInfo(_Record):
    """One shard: the files `shards/NAME.{tokens,words,sentences,documents}.npy`."""

    name: ShardName
    documents: Count
    sentences: Count
    tokens: Count
    checksums: Checksums


class Splits(_Record):
    """The shards of each split, in order."""

    train: tuple[ShardInfo, ...]
    validation: tuple[ShardInfo, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> Splits:
        names = [shard.name for shard in (*self.train, *self.validation)]
        if len(set(names)) < len(names):
            raise ValueError("two shards have the same name")
        return self


class BadFile(_Record):
    """A file that could not be read in full. problem: one line for a person."""

    name: str
    problem: str


class TextReport(_Record):
    """Counts of the documents that were read, kept and rejected.

    rejected: number of documents per reason; bad_files: the first of `num_bad_files`; notes: what else was left out or
    read differently, with counts ('files in it left out, no reader for .png'); changes: what reading and cleaning
    changed, counted by kind; encodings: files per encoding that was recognized and not declared. templates: the most
    frequent ones of wikitext that were left out without being known, and num_templates: how often that was in all.
    """

    read: Count = 0
    kept: Count = 0
    kept_bytes: Count = 0
    rejected: dict[str, Count] = Field(default_factory=dict)
    replaced_bytes: Count = 0
    changes: dict[str, Count] = Field(default_factory=dict)
    encodings: dict[str, Count] = Field(default_factory=dict)
    num_bad_files: Count = 0
    bad_files: tuple[BadFile, ...] = ()
    notes: dict[str, Count] = Field(default_factory=dict)
    templates: dict[str, Count] = Field(default_factory=dict)
    num_templates: Count = 0


class SourceNote(_Record):
    """One source as it was found. sample: xxh3-128 of its first and last bytes; content: of all; for local files."""

    name: str
    bytes: Count | None = None
    sample: Checksum | None = None
    content: Checksum | None = None


class SourceNotes(_Record):
    """All sources.

    fingerprint: of every note without its `content`; contents: of those, None in folders of earlier versions;
    listed: the first notes; skipped: files per suffix without a reader; left_out: what else of the folders is not
    read, and why.
    """

    count: Count
    bytes: Count | None
    fingerprint: Checksum
    contents: Checksum | None = None
    listed: tuple[SourceNote, ...]
    skipped: dict[str, Count] = Field(default_factory=dict)
    left_out: tuple[str, ...] = ()


class SegmentedScript(_Record):
    """A script without spaces between words. segmenter: library and version that found its words, None if none did."""

    characters: Count
    segmenter: str | None = None


class MadeFrom(_Record):
    """Everything that determines the bytes of a prepared folder. tokenizer: fingerprint of a given one, else None."""

    settings: dict[str, Any]
    sources: SourceNotes
    tokenizer: Checksum | None = None


class Manifest(_Record):
    """The contents of `manifest.json`: everything about a prepared folder except the tokens."""

    kind: Literal["maskling shards"] = "maskling shards"
    format_version: Literal[1] = 1
    created_by: str
    vocab_size: int = Field(ge=1, le=1 << 31)
    dtype: Literal["uint16", "uint32"]
    tokenizer: str = Field(description="fingerprint of the tokenizer that made the tokens")
    unknown_tokens: Count = Field(0, description="unknown tokens in the train split")
    unigram_entropy: float = Field(ge=0, allow_inf_nan=False, description="nats per token, of the train split")
    counts: Checksum = Field(description="checksum of counts.npy: how often each id occurs in the train split")
    splits: Splits
    text: TextReport = TextReport()
    normalized: tuple[ScriptChanges, ...] = Field((), description="changes by the tokenizer's normalizer, by script")
    scripts: dict[str, SegmentedScript] = Field(
        default_factory=dict, description="scripts without spaces in the text, and what found their words"
    )
    made_from: MadeFrom | None = Field(None, description="settings and sources")

    @model_validator(mode="after")
    def _fits(self) -> Manifest:
        if self.dtype != dtype_name(self.vocab_size):
            raise ValueError(f"{self.dtype} does not match a vocabulary of {self.vocab_size}")
        return self

    @property
    def word_rules(self) -> tuple[ChineseWords, OtherWords]:
        """How words were found in scripts without spaces: `tokenizer.chinese_words` and `tokenizer.words`."""
        made = {} if self.made_from is None else self.made_from.settings.get("tokenizer", {})
        chinese, others = made.get("chinese_words", "characters"), made.get("words", "spaces")
        return (
            chinese if chinese in get_args(ChineseWords) else "characters",
            others if others in get_args(OtherWords) else "spaces",
        )

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the tokens: folders with equal fingerprints hold the same tokens, split the same way."""
        return fingerprint({"tokenizer": self.tokenizer, "splits": self.splits.model_dump()})

    def shards(self, split: SplitName) -> tuple[ShardInfo, ...]:
        """Return the shards of one split."""
        return self.splits.train if split == "train" else self.splits.validation

    def write(self, folder: Path) -> None:
        """Write `folder/manifest.json`, whole or not at all."""
        write_json(folder / MANIFEST, self.model_dump(mode="json"))


def dtype_name(vocab_size: int) -> Literal["uint16", "uint32"]:
    """Return the name of the smallest dtype that holds every id."""
    return "uint16" if vocab_size <= UINT16_VOCAB_MAX else "uint32"


def dtype_for(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest dtype that holds every id."""
    return np.dtype(dtype_name(vocab_size))


def load_manifest(folder: Path) -> Manifest:
    """Read and check `folder/manifest.json`. Raises DataError that names the file, the fault and the remedy."""
    path = folder / MANIFEST
    try:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; make one with: maskling prepare TEXT --out {folder}")
        if not path.exists():
            raise DataError(
                f"{folder} is not a prepared folder, or its preparation was stopped: it has no {MANIFEST}; "
                f"run 'maskling prepare' (again) with --out {folder}"
            )
        if not path.is_file() or path.stat().st_size > MANIFEST_BYTES_MAX:
            raise DataError(f"{path} is not a file, or is too large to be a manifest; {PREPARE_AGAIN}")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse_manifest(raw, path)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Parse and check the bytes of a manifest; `path` is only named in errors. Raises DataError."""
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} is damaged ({error}); {PREPARE_AGAIN}") from None
    if not isinstance(tree, dict) or tree.get("kind") != "maskling shards":
        raise DataError(f"{path} is not the manifest of a prepared folder; give the folder that 'prepare' wrote")
    version = tree.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        shown = version if isinstance(version, int) else "unknown"
        raise DataError(
            f"{path} has format version {shown}, but this maskling reads version {FORMAT_VERSION}; "
            f"prepare the data again in another folder, or use the version of maskling that wrote it"
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise DataError(f"{path} is damaged: {where}: {problem['msg'].lower()}; {PREPARE_AGAIN}") from None


@dataclass(frozen=True)
class ShardArrays:
    """The four arrays of a shard; shapes and dtypes are those of the module docstring."""

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
        """Build the arrays of a shard.

        tokens: (T,) integers; word_starts: (T,) bool; sentences: (S,) integers, tokens in each;
        documents: (D,) integers, sentences in each.
        """
        ids = tokens.astype(dtype_for(vocab_size))
        return cls(ids, np.packbits(word_starts), offsets_of(sentences), offsets_of(documents))


def write_shard(folder: Path, name: str, arrays: ShardArrays) -> ShardInfo:
    """Write the files of shard `name` into `folder/shards`, each whole or not at all."""
    sums = {part: write_array(shard_file(folder, name, part), getattr(arrays, part)) for part in SHARD_ARRAYS}
    return ShardInfo(
        name=name,
        documents=len(arrays.documents) - 1,
        sentences=len(arrays.sentences) - 1,
        tokens=len(arrays.tokens),
        checksums=Checksums(**sums),
    )


def map_shard(folder: Path, shard: ShardInfo, vocab_size: int) -> ShardArrays:
    """Map a shard into memory. Raises DataError if a file does not match the manifest."""
    tokens, words, sentences, documents = (map_shard_array(folder, shard, vocab_size, part) for part in SHARD_ARRAYS)
    return ShardArrays(tokens, words, sentences, documents)


def map_shard_array(folder: Path, shard: ShardInfo, vocab_size: int, part: str) -> np.ndarray:
    """Map one array of a shard into memory. Raises DataError if its file does not match the manifest."""
    dtype, length = {
        "tokens": (dtype_for(vocab_size), shard.tokens),
        "words": (np.dtype(np.uint8), -(-shard.tokens // 8)),
        "sentences": (np.dtype(np.int64), shard.sentences + 1),
        "documents": (np.dtype(np.int64), shard.documents + 1),
    }[part]
    return map_array(shard_file(folder, shard.name, part), dtype, length)


def check_offsets(arrays: ShardArrays, where: str) -> None:
    """Raise DataError unless sentences divide the tokens, and documents the sentences, in order."""
    for part, offsets, end in (
        ("sentences", arrays.sentences, len(arrays.tokens)),
        ("documents", arrays.documents, len(arrays.sentences) - 1),
    ):
        if offsets[0] != 0 or offsets[-1] != end or np.any(offsets[1:] < offsets[:-1]):
            raise DataError(
                f"{where}.{part}.npy is damaged: its offsets do not ascend from 0 to {end}; {PREPARE_AGAIN}"
            )


def check_shard(folder: Path, shard: ShardInfo, vocab_size: int) -> ShardArrays:
    """Read every byte of a shard and check checksums, offsets and ids. Raises DataError; returns the mapped arrays."""
    arrays = map_shard(folder, shard, vocab_size)
    for part in SHARD_ARRAYS:
        path = shard_file(folder, shard.name, part)
        if checksum(path) != getattr(shard.checksums, part):
            raise DataError(f"{path} is damaged: its checksum is not the one in the manifest; {PREPARE_AGAIN}")
    check_offsets(arrays, str(folder / SHARDS / shard.name))
    if shard.tokens and int(arrays.tokens.max()) >= vocab_size:
        path = shard_file(folder, shard.name, "tokens")
        raise DataError(
            f"{path} is damaged: it holds an id outside the vocabulary of {vocab_size} tokens; {PREPARE_AGAIN}"
        )
    return arrays


def shard_file(folder: Path, name: str, part: str) -> Path:
    """Return the path of one array of a shard."""
    return folder / SHARDS / f"{name}.{part}.npy"
