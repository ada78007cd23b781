"""Text to measure a model on: the held-out part of a prepared folder, or text as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maskling.console import counted
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.data.shards import Split, open_shards
from maskling.errors import DataError
from maskling.evaluate.raw_text import read_text
from maskling.infer.load import Model
from maskling.metrics import nats


@dataclass(frozen=True)
class HeldOutText:
    """Text to measure on.

    tokens_per_byte: None where the text's size is not known. unigram_entropy: nats, of the training text where that
    is known, else of this text. name: for the model card. unknown: which part of the tokens is [UNK].
    """

    split: Split
    tokens_per_word: float
    tokens_per_byte: float | None
    unigram_entropy: float
    name: str
    unknown: float = 0.0


def prepared_text(folder: Path, model: Model) -> HeldOutText:
    """The validation split of a prepared folder.

    Raises DataError if it was prepared with another tokenizer than the model's, or has nothing held out.
    """
    shards = open_shards(folder)
    manifest = shards.manifest
    if manifest.tokenizer != model.tokenizer.fingerprint:
        raise DataError(
            f"{folder} was prepared with tokenizer {manifest.tokenizer}, but the model in {model.folder} has "
            f"{model.tokenizer.fingerprint}; evaluate it on text itself instead, or prepare that with "
            f"--tokenizer.path {model.folder}"
        )
    split = shards.split("validation")
    if not split.num_documents:
        raise DataError(f"{folder} has no validation split; prepare it with a larger shards.validation_fraction")
    num_tokens = split.num_tokens + shards.split("train").num_tokens
    num_bytes = manifest.text.kept_bytes
    return HeldOutText(
        split=split,
        tokens_per_word=_tokens_per_word(split),
        tokens_per_byte=num_tokens / num_bytes if num_bytes else None,
        unigram_entropy=manifest.unigram_entropy,
        name=f"a validation split of {counted(split.num_documents, 'document')}",
        unknown=_unknown(split, model),
    )


def raw_text(
    sources: Sequence[str], model: Model, settings: CorpusSettings | None = None, report: ReadReport | None = None
) -> HeldOutText:
    """Text from files, folders or addresses. report: gets what was wrong with which file.

    Raises CorpusError if there is none.
    """
    text = read_text(sources, model.tokenizer, settings, report)
    split = text.split
    names = ", ".join(Path(source).name or source for source in sources)
    return HeldOutText(
        split=split,
        tokens_per_word=_tokens_per_word(split),
        tokens_per_byte=split.num_tokens / text.num_bytes,
        unigram_entropy=nats.entropy(_counts(split, model.tokenizer.vocab_size)),
        name=f"{counted(split.num_documents, 'document')} of {names}",
        unknown=_unknown(split, model),
    )


def _tokens_per_word(split: Split) -> float:
    words = sum(int(np.count_nonzero(block.word_starts())) for block in split.blocks())
    return split.num_tokens / max(1, words)


def _unknown(split: Split, model: Model) -> float:
    unk = model.tokenizer.special.unk
    return sum(int(np.count_nonzero(block.tokens == unk)) for block in split.blocks()) / max(1, split.num_tokens)


def _counts(split: Split, vocab_size: int) -> NDArray[np.int64]:
    """How often each token occurs: (vocab_size,) int64."""
    counts = np.zeros(vocab_size, np.int64)
    for block in split.blocks():
        counts += np.bincount(block.tokens, minlength=vocab_size)
    return counts
