"""Text as `prepare` would take it: how much, what is left out and why, and what it looks like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from maskling.cli.views.view import View, shortened
from maskling.console import size, table
from maskling.corpus.dedup import Seen
from maskling.corpus.pipeline import CleanDocument, process, unseen
from maskling.corpus.reading import ReadReport, read
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand


def view_corpus(sources: Sequence[str], settings: CorpusSettings, samples: int) -> View:
    """Read everything once, keep nothing but the first `samples` documents."""
    report, seen = ReadReport(), Seen()
    rejected: Counter[str] = Counter()
    kept = characters = sentences = 0
    shown: list[CleanDocument] = []
    for _, document in read(expand(sources, report), settings, report):
        clean = process(document, settings)
        if isinstance(clean, CleanDocument):
            clean = unseen(clean, seen, settings)
        if not isinstance(clean, CleanDocument):
            rejected[clean.reason] += 1
            continue
        kept += 1
        characters += len(clean.text)
        sentences += len(clean.sentences)
        if len(shown) < samples:
            shown.append(clean)
    lines = [
        f"{kept:,} documents, {size(characters)} characters, {sentences:,} sentences in {len(report.files):,} files",
        *(f"left out, {reason.replace('_', ' ')}: {count:,}" for reason, count in rejected.most_common()),
        *report.problems(),
        *table([[file.name, f"{file.documents:,}", "documents"] for file in report.files[:20]]),
    ]
    for sample in shown:
        lines += ["", f"{sample.id}", f"  {shortened(sample.text)}"]
    facts = {
        "documents": kept,
        "characters": characters,
        "sentences": sentences,
        "rejected": dict(rejected),
        "problems": report.problems(),
        "samples": [{"id": sample.id, "text": sample.text} for sample in shown],
    }
    return View(lines, facts)
