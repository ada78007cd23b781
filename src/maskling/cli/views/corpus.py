"""View of text files as `prepare` reads them: counts, rejected documents by reason, and samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from maskling.cli.format import shortened, size, table, unknown_templates
from maskling.cli.views import View
from maskling.console import counted
from maskling.corpus.dedup import SeenDigests
from maskling.corpus.opening import ReadReport
from maskling.corpus.pipeline import CleanDocument, drop_duplicates, process_document
from maskling.corpus.reading import read_documents
from maskling.corpus.settings import CorpusSettings
from maskling.corpus.sources import expand

SHOWN_FILES = 20


def view_corpus(sources: Sequence[str], settings: CorpusSettings, samples: int, report: ReadReport) -> View:
    """Read all text once and keep only the first `samples` documents. report: an empty report, to be filled."""
    seen = SeenDigests()
    rejected: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    kept = characters = sentences = 0
    shown: list[CleanDocument] = []
    for _, document in read_documents(expand(sources, report, settings.format != "auto"), settings, report):
        clean = process_document(document, settings)
        if isinstance(clean, CleanDocument):
            clean = drop_duplicates(clean, seen, settings)
        if not isinstance(clean, CleanDocument):
            rejected[clean.reason] += 1
            continue
        kept += 1
        changes.update(clean.changes)
        characters += len(clean.text)
        sentences += len(clean.sentences)
        if len(shown) < samples:
            shown.append(clean)
    for file in report.files:
        rejected.update(file.left_out)
    templates = sum((file.templates for file in report.files), Counter())
    files = [[f"{file.documents:,}", file.name] for file in report.files[:SHOWN_FILES]]
    left_out = [[f"{count:,}", reason.replace("_", " ")] for reason, count in rejected.most_common()]
    lines = [
        f"{counted(kept, 'document')}, {size(characters)} characters, {counted(sentences, 'sentence')} "
        f"in {counted(len(report.files), 'file')}",
        *table(files),
        *(
            [f"  and {counted(len(report.files) - SHOWN_FILES, 'more file')}"]
            if len(report.files) > SHOWN_FILES
            else []
        ),
        *(["left out", *table(left_out)] if left_out else []),
        *(["changed by cleaning", *table([[f"{n:,}", kind] for kind, n in changes.most_common()])] if changes else []),
        *([unknown_templates(templates, templates.total())] if templates else []),
        *(f"problem: {line}" for line in report.problems()),
    ]
    for sample in shown:
        lines += ["", sample.id, f"  {shortened(sample.text)}"]
    facts = {
        "documents": kept,
        "characters": characters,
        "sentences": sentences,
        "files": {file.name: file.documents for file in report.files},
        "rejected": dict(rejected),
        "changes": dict(changes),
        "unknown_templates": dict(templates),
        "problems": report.problems(),
        "samples": [{"id": sample.id, "text": sample.text} for sample in shown],
    }
    return View(lines, facts)
