"""A tokenizer from text, without shards: read, clean, deduplicate, count words, train."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from maskling.config import Settings
from maskling.corpus.dedup import Seen
from maskling.corpus.pipeline import CleanDocument, unseen
from maskling.corpus.reading import read
from maskling.corpus.report import ReadReport
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand
from maskling.data.preparation.cleaning import chunked, process_all
from maskling.data.preparation.events import Reading, TokenizerTrained, TokenizerTraining
from maskling.data.preparation.pool import engine, in_order
from maskling.data.settings import PrepareSystem
from maskling.errors import CorpusError
from maskling.files import folder_written_aside
from maskling.tokenizer.settings import TokenizerSettings
from maskling.tokenizer.training import count_words, train


class VocabularySettings(Settings):
    """Everything that training a tokenizer can be told."""

    corpus: CorpusSettings = CorpusSettings()
    tokenizer: TokenizerSettings = TokenizerSettings()
    system: PrepareSystem = PrepareSystem()
    max_length: int | None = Field(None, ge=8, description="longest sequence written into tokenizer_config.json")


def learn_vocabulary(
    sources: Sequence[str], out: Path, settings: VocabularySettings, report: ReadReport | None = None
) -> Iterator[Reading | TokenizerTraining | TokenizerTrained]:
    """Train a tokenizer on what `sources` name and write its files into the folder `out`, whole or not at all.

    `prepare` learns from the training documents alone, this from all. report: gets what was wrong with which file.
    Raises CorpusError if no text is left, TokenizerError.
    """
    report, seen = report or ReadReport(), Seen()
    found = expand(sources, report, any_suffix=settings.corpus.format != "auto")
    counts: Counter[str] = Counter()
    documents = text_bytes = 0
    with engine(settings.system.num_workers) as workers:
        chunks = ((chunk, settings.corpus) for chunk in chunked(read(found, settings.corpus, report)))
        for outcomes in in_order(workers, process_all, chunks):
            kept = [
                unseen(outcome, seen, settings.corpus) for _, outcome in outcomes if isinstance(outcome, CleanDocument)
            ]
            texts = [document.text for document in kept if isinstance(document, CleanDocument)]
            counts.update(count_words(texts, settings.tokenizer))
            documents += len(texts)
            text_bytes += sum(len(text.encode()) for text in texts)
            yield Reading(documents, text_bytes, report.read_bytes, report.total_bytes)
    if not counts:
        raise CorpusError("no text was left to train a tokenizer on; see corpus.filters for what leaves documents out")
    yield TokenizerTraining(len(counts))
    tokenizer = train(counts, settings.tokenizer)
    with folder_written_aside(out) as aside:
        tokenizer.save(aside, max_length=settings.max_length)
    yield TokenizerTrained(tokenizer.vocab_size, None)
