"""`manifest.json`: what a prepared folder holds, written last and trusted with nothing unchecked.

A folder may come from anywhere, so every number is bounded, every shard name is a plain word that
cannot lead out of the folder, and what the manifest says of a file is compared with the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from maskling.data.array_files import AGAIN
from maskling.errors import DataError
from maskling.files import fingerprint, write_json

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 256 << 20  # 100 times what 10 GB of text needs
UINT16_VOCAB_MAX = 65_535

SplitName = Literal["train", "validation"]
SPLITS: tuple[SplitName, ...] = ("train", "validation")

Count = Annotated[int, Field(ge=0, lt=1 << 48)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
ShardName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,99}$")]


class _Record(BaseModel):
    # Extra keys pass: a field may be added without a new format version, a changed meaning needs one.
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
            raise ValueError("two shards have one name")
        return self


class BadFile(_Record):
    """A file in which something was wrong. problem: one line for a person."""

    name: str
    problem: str


class TextReport(_Record):
    """What became of the documents that were read.

    rejected: reasons and how many documents fell to each; bad_files: the first of `num_bad_files`.
    """

    read: Count = 0
    kept: Count = 0
    kept_bytes: Count = 0
    rejected: dict[str, Count] = Field(default_factory=dict)
    replaced_bytes: Count = 0
    num_bad_files: Count = 0
    bad_files: tuple[BadFile, ...] = ()


class SourceNote(_Record):
    """One source as it was found. sample: xxh3-128 of its first and last bytes, of local files."""

    name: str
    bytes: Count | None = None
    sample: Checksum | None = None


class SourceNotes(_Record):
    """All sources. fingerprint: of every note; listed: the first of them; skipped: suffixes that no reader knows."""

    count: Count
    bytes: Count | None
    fingerprint: Checksum
    listed: tuple[SourceNote, ...]
    skipped: dict[str, Count] = Field(default_factory=dict)


class MadeFrom(_Record):
    """What decides the bytes of a prepared folder. tokenizer: fingerprint of the one that was given, if one was."""

    settings: dict[str, Any]
    sources: SourceNotes
    tokenizer: Checksum | None = None


class Manifest(_Record):
    """Everything about a prepared folder but the tokens themselves."""

    kind: Literal["maskling shards"] = "maskling shards"
    format_version: Literal[1] = 1
    created_by: str
    vocab_size: int = Field(ge=1, le=1 << 31)
    dtype: Literal["uint16", "uint32"]
    tokenizer: str = Field(description="fingerprint of the tokenizer that made the tokens")
    unknown_tokens: Count = Field(0, description="unknown tokens in the train split")
    unigram_entropy: float = Field(ge=0, allow_inf_nan=False, description="nats a token, of the train split")
    counts: Checksum = Field(description="checksum of counts.npy: how often each id occurs in the train split")
    splits: Splits
    text: TextReport = TextReport()
    made_from: MadeFrom | None = Field(None, description="settings and sources")

    @model_validator(mode="after")
    def _fits(self) -> Manifest:
        if self.dtype != dtype_name(self.vocab_size):
            raise ValueError(f"{self.dtype} does not go with a vocabulary of {self.vocab_size}")
        return self

    @property
    def fingerprint(self) -> str:
        """Two folders with one fingerprint hold the same tokens, split the same way."""
        return fingerprint({"tokenizer": self.tokenizer, "splits": self.splits.model_dump()})

    def shards(self, split: SplitName) -> tuple[ShardInfo, ...]:
        """The shards of one split."""
        return self.splits.train if split == "train" else self.splits.validation

    def write(self, folder: Path) -> None:
        """Write `folder/manifest.json`, whole or not at all."""
        write_json(folder / MANIFEST, self.model_dump(mode="json"))


def dtype_name(vocab_size: int) -> Literal["uint16", "uint32"]:
    """The name of the smallest type that holds every id."""
    return "uint16" if vocab_size <= UINT16_VOCAB_MAX else "uint32"


def dtype_for(vocab_size: int) -> np.dtype[Any]:
    """The smallest type that holds every id."""
    return np.dtype(dtype_name(vocab_size))


def load_manifest(folder: Path) -> Manifest:
    """Read and check `folder/manifest.json`. Raises DataError with the file, the fault and the remedy."""
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
            raise DataError(f"{path} is too large to be a manifest or is no file; {AGAIN}")
        raw = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name with a null byte
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return parse_manifest(raw, path)


def parse_manifest(raw: bytes, path: Path) -> Manifest:
    """Check the bytes of a manifest; `path` is only named in errors. Raises DataError."""
    try:
        tree = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} is damaged ({error}); {AGAIN}") from None
    if not isinstance(tree, dict) or tree.get("kind") != "maskling shards":
        raise DataError(f"{path} is not the manifest of a prepared folder; give the folder that 'prepare' wrote")
    version = tree.get("format_version")
    if version != FORMAT_VERSION or isinstance(version, bool):
        shown = version if isinstance(version, int) else "unknown"
        raise DataError(
            f"{path} has format version {shown}, but this maskling reads version {FORMAT_VERSION}; "
            f"prepare it again elsewhere, or use the maskling that wrote it"
        )
    try:
        return Manifest.model_validate_json(raw)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the whole"
        raise DataError(f"{path} is damaged: {where}: {problem['msg'].lower()}; {AGAIN}") from None
