"""The second stage: the tokenizer of the folder, trained on the counted words or taken from where it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

from maskling.data.preparation.events import TokenizerTrained, TokenizerTraining
from maskling.data.preparation.parts import Part, read_words
from maskling.data.shards import TOKENIZER
from maskling.files import folder_written_aside, recover_folder
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import train

# A corpus of 10 GB has some ten million different words, most of them misspelt and seen once or twice.
WORDS_MAX = 6_000_000


def given_tokenizer(settings: TokenizerSettings) -> Tokenizer | None:
    """The tokenizer that the settings name, if they name one. Raises TokenizerError if it cannot be used."""
    return Tokenizer.load(settings.path, settings.chinese_words) if settings.path is not None else None


def make_tokenizer(
    folder: Path, parts: Sequence[Part], settings: TokenizerSettings, given: Tokenizer | None
) -> Generator[TokenizerTraining | TokenizerTrained, None, Tokenizer]:
    """Put the tokenizer into `folder/tokenizer` unless it is there, and return it as it is read from there."""
    place = folder / TOKENIZER
    recover_folder(place)
    if not place.exists():
        tokenizer = given
        if tokenizer is None:
            counts = merged_counts(folder, parts)
            yield TokenizerTraining(len(counts))
            tokenizer = train(counts, settings)
        with folder_written_aside(place) as aside:
            tokenizer.save(aside)
    tokenizer = Tokenizer.load(place, settings.chinese_words)
    yield TokenizerTrained(tokenizer.vocab_size, settings.path)
    return tokenizer


def merged_counts(folder: Path, parts: Sequence[Part], most: int = WORDS_MAX) -> Counter[str]:
    """The words of all parts, added up in order; beyond `most` different words the rarest are forgotten."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(read_words(folder, part))
        rarest = 1
        while len(counts) > most:
            counts = Counter({word: count for word, count in counts.items() if count > rarest})
            rarest += 1
    return counts
