"""The second stage of `prepare`: the tokenizer of the folder, trained on the counted words or copied from a path.

Also `train_tokenizer`, which trains a tokenizer from text without writing shards.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from pydantic import Field

from maskling.corpus.dedup import SeenDigests
from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, drop_duplicates
from maskling.corpus.reading import read_documents
from maskling.corpus.sources import expand
from maskling.data.prepare.clean_stage import CHUNK_CHARACTERS, num_characters, process_chunk
from maskling.data.prepare.coverage import coverage
from maskling.data.prepare.events import NormalizationMeasured, Reading, TokenizerTrained, TokenizerTraining
from maskling.data.prepare.parts import TextPart, read_part, read_words
from maskling.data.prepare.settings import PrepareSystem, TextSettings
from maskling.data.prepare.workers import in_order, open_workers
from maskling.data.shards import TOKENIZER
from maskling.errors import CorpusError, SettingsError
from maskling.files import atomic_folder, recover_folder
from maskling.grouping import grouped
from maskling.tokenizer.changes import SAMPLE_CHARACTERS, ScriptChanges, TextSample, count_changes
from maskling.tokenizer.normalization import for_language
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.tokenizer import Tokenizer
from maskling.tokenizer.training import count_words, decide_case, train_vocabulary

# A corpus of 10 GB has some ten million different words, most of them misspelt and occurring once or twice.
WORDS_MAX = 6_000_000


_SAMPLE_OF_PART = 20_000


def given_tokenizer(settings: TokenizerSettings) -> Tokenizer | None:
    """Load the tokenizer that the settings name, if any. Raises TokenizerError if it cannot be used."""
    if settings.path is None:
        if settings.add_missing:
            raise SettingsError("tokenizer.add_missing is for an existing tokenizer; give it with tokenizer.path")
        return None
    return Tokenizer.load(settings.path, settings.chinese_words, settings.words, settings.add_missing)


def make_tokenizer(
    folder: Path, parts: Sequence[TextPart], settings: TokenizerSettings, given: Tokenizer | None
) -> Generator[TokenizerTraining | TokenizerTrained, None, Tokenizer]:
    """Write the tokenizer into `folder/tokenizer` unless it is there, and return it as loaded from there."""
    path = folder / TOKENIZER
    recover_folder(path)
    left_out: tuple[str, ...] = ()
    if not path.exists():
        tokenizer = given
        if tokenizer is None:
            counts = merged_counts(folder, parts)
            yield TokenizerTraining(len(counts))
            decided_counts, decided = decide_case(counts, settings)
            tokenizer = train_vocabulary(decided_counts, decided)
            left_out = tuple(coverage(decided_counts, tokenizer, decided).lines())
        with atomic_folder(path) as aside:
            tokenizer.save(aside)
    tokenizer = Tokenizer.load(path, settings.chinese_words, settings.words)
    yield TokenizerTrained(tokenizer.vocab_size, settings.path, settings.kind, left_out, tokenizer.folds_to_dotless_i)
    return tokenizer


def measure_changes(folder: Path, parts: Sequence[TextPart], tokenizer: Tokenizer) -> list[ScriptChanges]:
    """Count what the tokenizer's normalizer changes in the first text of every part."""
    words: Counter[str] = Counter()
    for part in parts:
        sample = TextSample(max(_SAMPLE_OF_PART, SAMPLE_CHARACTERS // len(parts)))
        for document in read_part(folder, part):
            sample.add(document["text"])
            if sample.is_full:
                break
        words.update(sample.words)
    return count_changes(tokenizer.normalized, words)


def merged_counts(folder: Path, parts: Sequence[TextPart], most: int = WORDS_MAX) -> Counter[str]:
    """Sum the word counts of all parts in order; beyond `most` different words the rarest are dropped."""
    counts: Counter[str] = Counter()
    for part in parts:
        counts.update(read_words(folder, part))
        rarest = 1
        while len(counts) > most:
            counts = Counter({word: count for word, count in counts.items() if count > rarest})
            rarest += 1
    return counts


class TokenizerTrainingSettings(TextSettings):
    """All settings of `maskling tokenizer`."""

    system: PrepareSystem = PrepareSystem()
    max_length: int | None = Field(None, ge=8, description="longest sequence written into tokenizer_config.json")


def train_tokenizer(
    sources: Sequence[str], out: Path, settings: TokenizerTrainingSettings, report: ReadReport | None = None
) -> Iterator[Reading | TokenizerTraining | TokenizerTrained | NormalizationMeasured]:
    """Train a tokenizer on the text of `sources` and write its files into the folder `out`, atomically.

    `prepare` trains on the training documents alone, this function on all documents. report: collects problems per
    file. Raises CorpusError if no text is left, TokenizerError.
    """
    report, seen = report or ReadReport(), SeenDigests()
    found = expand(sources, report, any_suffix=settings.corpus.format != "auto")
    counts: Counter[str] = Counter()
    tokenizer_settings = for_language(settings.tokenizer, settings.corpus.language)
    documents = text_bytes = 0
    sample = TextSample()
    with open_workers(settings.system.num_workers) as workers:
        chunks = grouped(read_documents(found, settings.corpus, report), num_characters, CHUNK_CHARACTERS)
        for outcomes in in_order(workers, process_chunk, ((chunk, settings.corpus) for chunk in chunks)):
            kept = [
                drop_duplicates(outcome, seen, settings.corpus)
                for _, outcome in outcomes
                if isinstance(outcome, CleanDocument)
            ]
            texts = [document.text for document in kept if isinstance(document, CleanDocument)]
            counts.update(count_words(texts, tokenizer_settings))
            for text in texts:
                sample.add(text)
            documents += len(texts)
            text_bytes += sum(len(text.encode()) for text in texts)
            yield Reading(documents, text_bytes, report.read_bytes, report.total_bytes)
    if not counts:
        raise CorpusError("no text is left to train a tokenizer on; see corpus.filters for what rejects documents")
    yield TokenizerTraining(len(counts))
    decided_counts, decided = decide_case(counts, tokenizer_settings)
    tokenizer = train_vocabulary(decided_counts, decided)
    with atomic_folder(out) as aside:
        tokenizer.save(aside, max_length=settings.max_length)
    left_out = tuple(coverage(decided_counts, tokenizer, decided).lines())
    yield TokenizerTrained(tokenizer.vocab_size, None, tokenizer_settings.kind, left_out, tokenizer.folds_to_dotless_i)
    yield NormalizationMeasured(tuple(count_changes(tokenizer.normalized, sample.words)))
