"""The second stage: the tokenizer of the folder, trained on the counted words or taken from where it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from pydantic import Field

from maskling.config import Settings
from maskling.corpus.dedup import SeenDigests
from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, drop_duplicates
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.data.prepare.clean_stage import chunked, process_all
from maskling.data.prepare.events import Reading, TokenizerTrained, TokenizerTraining
from maskling.data.prepare.parts import Part, read_words
from maskling.data.prepare.settings import PrepareSystem
from maskling.data.prepare.workers import engine, in_order
from maskling.data.shards import TOKENIZER
from maskling.errors import CorpusError
from maskling.files import atomic_folder, recover_folder
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, train_vocabulary

# FOLDED DOCS
# [vocabulary] A tokenizer from text, without shards: read, clean, deduplicate, count words, train.


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
            tokenizer = train_vocabulary(counts, settings)
        with atomic_folder(place) as aside:
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


class TokenizerTrainingSettings(Settings):
    """Everything that training a tokenizer can be told."""

    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    system: PrepareSystem = PrepareSystem()
    max_length: int | None = Field(None, ge=8, description="longest sequence written into tokenizer_config.json")


def train_tokenizer(
    sources: Sequence[str], out: Path, settings: TokenizerTrainingSettings, report: ReadReport | None = None
) -> Iterator[Reading | TokenizerTraining | TokenizerTrained]:
    """Train a tokenizer on what `sources` name and write its files into the folder `out`, whole or not at all.

    `prepare` learns from the training documents alone, this from all. report: gets what was wrong with which file.
    Raises CorpusError if no text is left, TokenizerError.
    """
    report, seen = report or ReadReport(), SeenDigests()
    found = expand(sources, report, any_suffix=settings.corpus.format != "auto")
    counts: Counter[str] = Counter()
    documents = text_bytes = 0
    with engine(settings.system.num_workers) as workers:
        chunks = ((chunk, settings.corpus) for chunk in chunked(read_documents(found, settings.corpus, report)))
        for outcomes in in_order(workers, process_all, chunks):
            kept = [
                drop_duplicates(outcome, seen, settings.corpus)
                for _, outcome in outcomes
                if isinstance(outcome, CleanDocument)
            ]
            texts = [document.text for document in kept if isinstance(document, CleanDocument)]
            counts.update(count_words(texts, settings.tokenizer))
            documents += len(texts)
            text_bytes += sum(len(text.encode()) for text in texts)
            yield Reading(documents, text_bytes, report.read_bytes, report.total_bytes)
    if not counts:
        raise CorpusError("no text was left to train a tokenizer on; see corpus.filters for what leaves documents out")
    yield TokenizerTraining(len(counts))
    tokenizer = train_vocabulary(counts, settings.tokenizer)
    with atomic_folder(out) as aside:
        tokenizer.save(aside, max_length=settings.max_length)
    yield TokenizerTrained(tokenizer.vocab_size, None)
