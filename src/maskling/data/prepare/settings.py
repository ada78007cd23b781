"""The settings of `prepare`: [corpus], [tokenizer], [shards], and [system] for what changes only the speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from maskling.config import Layer, Resolved, Settings, reject_unused, resolve
from maskling.corpus.settings import CorpusSettings
from maskling.threads import cores
from maskling.tokenizer.settings import TokenizerSettings


class ShardSettings(Settings):
    """The split of documents between training and validation, and into files."""

    validation_fraction: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="fraction of documents held out, chosen by a hash of their text: stable when the corpus grows",
    )
    part_bytes: Literal["auto"] | Annotated[int, Field(ge=1 << 10, le=1 << 30)] = Field(
        "auto",
        description="clean text (UTF-8 bytes) per part, which becomes one shard; 'auto': 1/32 of the sources, but at "
        "least 2 and at most 32 MiB",
    )
    keep_text: bool = Field(False, description="keep the clean text beside the shards as text/*.jsonl.zst")


class PrepareSystem(Settings):
    """Settings that change only the speed of `prepare`, never its result."""

    workers: Literal["auto"] | Annotated[int, Field(ge=0, le=1024)] = Field(
        "auto", description="worker processes; 'auto': one per core; 0 or 1: everything in this process"
    )

    @property
    def num_workers(self) -> int:
        """`workers` with 'auto' resolved to the number of cores."""
        if self.workers != "auto":
            return self.workers
        return cores()


class TextSettings(Settings):
    """The settings from which a tokenizer is trained: those of reading and of the tokenizer."""

    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()

    @model_validator(mode="before")
    @classmethod
    def _spaces_that_reach_the_tokenizer(cls, values: Any) -> Any:
        """With tokenizer.spaces = keep, the default of corpus.clean.spaces is keep too."""
        if not isinstance(values, Mapping):
            return values
        corpus, tokenizer = (_tree(values.get(name, {})) for name in ("corpus", "tokenizer"))
        if not isinstance(corpus, Mapping) or not isinstance(tokenizer, Mapping) or tokenizer.get("spaces") != "keep":
            return values
        clean = _tree(corpus.get("clean", {}))
        if not isinstance(clean, Mapping):
            return values
        return {**values, "corpus": {**corpus, "clean": {"spaces": "keep", **clean}}}


def _tree(values: Any) -> Any:
    return values.model_dump(exclude_unset=True) if isinstance(values, Settings) else values


class PrepareSettings(TextSettings):
    """All settings of `maskling prepare`."""

    shards: ShardSettings = ShardSettings()
    system: PrepareSystem = PrepareSystem()


# Settings of a tokenizer to be trained.
_TOKENIZER_TRAINING = [
    f"tokenizer.{name}"
    for name in (
        *("kind", "pattern", "k", "vocab_size", "normalization", "lowercase", "dotless_i", "strip_accents"),
        *("split_chinese", "spaces", "split_digits", "min_count", "max_alphabet", "special_tokens"),
    )
]


def read_prepare_settings(layers: Sequence[Layer]) -> Resolved[PrepareSettings]:
    """Resolve the settings. Raises SettingsError for one that does not fit or would change nothing."""
    resolved = resolve(PrepareSettings, layers)
    if resolved.settings.tokenizer.path is not None:
        reject_unused(resolved, _TOKENIZER_TRAINING, "tokenizer.path gives a trained tokenizer")
    return resolved
