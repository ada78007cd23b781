"""The settings of `prepare`: [corpus], [tokenizer], [shards], and [system] for what changes only the speed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from maskling.config import Settings
from maskling.corpus.settings import CorpusSettings
from maskling.threads import cores
from maskling.tokenizer.settings import TokenizerSettings


class ShardSettings(Settings):
    """How documents are divided between training and validation, and into files."""

    validation_fraction: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="fraction of documents held out, chosen by a hash of their text so that it stays as a corpus grows",
    )
    part_bytes: Literal["auto"] | Annotated[int, Field(ge=1 << 10, le=1 << 30)] = Field(
        "auto",
        description="cleaned text (UTF-8 bytes) of one part, which becomes one shard; 'auto': a 32nd of the sources, "
        "but 2 to 32 MiB",
    )
    keep_text: bool = Field(False, description="keep the cleaned text beside the shards as text/*.jsonl.zst")


class PrepareSystem(Settings):
    """What changes only how fast a folder is prepared."""

    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=1024)] = Field(
        "auto", description="worker processes; 'auto': one for each core; 0 or 1: everything in this process"
    )

    @property
    def num_workers(self) -> int:
        """`workers` with 'auto' filled in."""
        if self.workers != "auto":
            return self.workers
        return cores()


class PrepareSettings(Settings):
    """Everything that `prepare` can be told."""

    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    shards: ShardSettings = ShardSettings()
    system: PrepareSystem = PrepareSystem()
