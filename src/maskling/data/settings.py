"""The `[shards]` section: how a corpus is laid out on disk."""

from __future__ import annotations

from pydantic import Field

from maskling.config import Settings


class ShardSettings(Settings):
    """How documents are divided between training and validation, and into files."""

    validation_fraction: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="fraction of documents held out, chosen by a hash of their text so that it stays as a corpus grows",
    )
    part_bytes: int = Field(
        16 << 20, ge=1 << 10, le=1 << 30, description="cleaned text (UTF-8 bytes) of one part, which becomes one shard"
    )
    keep_text: bool = Field(False, description="keep the cleaned text beside the shards as text/*.jsonl.zst")
