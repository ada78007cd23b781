"""One text, laid out for each of several models: the same passages, and words that all of them can write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskling.arrays import BoolArray
from maskling.console import counted
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.data.shards import open_shards
from maskling.errors import DataError, SettingsError
from maskling.evaluate.hidden_words import Laid, lay_passages, lay_split
from maskling.evaluate.passages import WORDS, chosen_words, read_passages
from maskling.infer.load import Model

# Passages to compare on; about 9,000 hidden words, whose mean loss is known to some 0.03 nats.
PASSAGES = 1000
LONGEST = 512


@dataclass(frozen=True)
class CommonText:
    """laid[m][p]: passage p as model m reads it; hidden[p]: which of its words are hidden from every model.

    num_bytes: of the hidden words in UTF-8; an estimate for prepared text, None if unknown. name: what was measured on.
    too_long: passages that were left out because some model could not see all of them. unwritable: for each model the
    share of the words that its vocabulary cannot write; these are hidden from nobody.
    """

    laid: tuple[list[Laid], ...]
    hidden: list[BoolArray]
    num_bytes: float | None
    name: str
    too_long: int
    unwritable: tuple[float, ...]

    @property
    def num_words(self) -> int:
        """How many words are hidden."""
        return sum(int(which.sum()) for which in self.hidden)


def plain_text(
    sources: Sequence[str],
    models: Sequence[Model],
    settings: CorpusSettings | None = None,
    *,
    rate: float = 0.15,
    passages: int = PASSAGES,
    words: int = WORDS,
    report: ReadReport | None = None,
) -> CommonText:
    """Text from files, folders or addresses, for models of any tokenizers. report: gets what was wrong with which file.

    Raises CorpusError if there is none, SettingsError if its passages are too long for one of the models.
    """
    found, total = read_passages(sources, settings or CorpusSettings(), passages, words, report)
    name = f"{len(found):,} of {total:,} passages of {', '.join(Path(source).name or source for source in sources)}"
    laid = [lay_passages(found, model.tokenizer) for model in models]
    fits = [
        all(len(one[number].ids) <= model.max_length for one, model in zip(laid, models, strict=True))
        for number in range(len(found))
    ]
    if not any(fits):
        shortest = min(models, key=lambda model: model.max_length)
        raise SettingsError(
            f"no passage of {words} words fits into the {shortest.max_length:,} tokens that the model in "
            f"{shortest.folder} sees; give shorter ones with --words"
        )
    text = _common([[one[n] for n in np.flatnonzero(fits)] for one in laid], rate, name, fits.count(False))
    sizes = [
        sum(len(passage.text[first:end].encode()) for first, end in passage.words[which].tolist())
        for passage, which in zip([found[n] for n in np.flatnonzero(fits)], text.hidden, strict=True)
    ]
    return CommonText(text.laid, text.hidden, float(sum(sizes)), name, text.too_long, text.unwritable)


def prepared_text(folder: Path, models: Sequence[Model], *, rate: float = 0.15, passages: int = PASSAGES) -> CommonText:
    """The validation split of a prepared folder, for models that all have its tokenizer.

    Raises DataError if one has another: the folder holds its tokens, not the text.
    """
    shards = open_shards(folder)
    manifest = shards.manifest
    for model in models:
        if model.tokenizer.fingerprint != manifest.tokenizer:
            raise DataError(
                f"{folder} holds the tokens of tokenizer {manifest.tokenizer}, and the model in {model.folder} has "
                f"{model.tokenizer.fingerprint}; models of different tokenizers compare on text itself: give the files "
                f"with --text"
            )
    split = shards.split("validation")
    if not split.num_documents:
        raise DataError(f"{folder} has no validation split; prepare it with a larger shards.validation_fraction")
    length = min(LONGEST, *(model.max_length for model in models))
    laid = lay_split(split, models[0].tokenizer, length, passages)
    name = f"{len(laid):,} passages of a validation split of {counted(split.num_documents, 'document')}"
    text = _common([laid] * len(models), rate, name, 0)
    num_tokens = split.num_tokens + shards.split("train").num_tokens
    pieces = sum(int(np.diff(one.words[which]).sum()) for one, which in zip(laid, text.hidden, strict=True))
    num_bytes = pieces * manifest.text.kept_bytes / num_tokens if manifest.text.kept_bytes else None
    return CommonText(text.laid, text.hidden, num_bytes, name, 0, text.unwritable)


def _common(laid: list[list[Laid]], rate: float, name: str, too_long: int) -> CommonText:
    if not 0 < rate < 1:
        raise SettingsError(f"rate is {rate:g}; it is a fraction of the words, above 0 and below 1, such as 0.15")
    writable = [np.logical_and.reduce([one.writable for one in passage]) for passage in zip(*laid, strict=True)]
    drawn = chosen_words([len(which) for which in writable], rate)
    hidden = [which & all_can for which, all_can in zip(drawn, writable, strict=True)]
    if not any(which.any() for which in hidden):
        raise DataError("there is no word in the text to hide that every model can write; give more text")
    shares = tuple(1 - float(np.concatenate([passage.writable for passage in one]).mean()) for one in laid)
    return CommonText(tuple(laid), hidden, None, name, too_long, shares)
