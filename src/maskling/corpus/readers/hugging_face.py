"""Reader of datasets of the Hugging Face Hub, streamed."""

from __future__ import annotations

from collections.abc import Iterator

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport
from maskling.corpus.readers.fields import read_row
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError, MissingExtra


def read_hugging_face(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row of 'hf:NAME[:CONFIG[:SPLIT]]' (default split: 'train').

    Raises MissingExtra without `datasets`, and CorpusError if the dataset cannot be loaded.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtra("datasets", "hf", f"reading {source.location}") from None
    name, config, split = (*source.location.removeprefix("hf:").split(":", 2), "", "")[:3]
    if not name:
        raise CorpusError("names no dataset; write hf:NAME, hf:NAME:CONFIG or hf:NAME:CONFIG:SPLIT")
    try:
        rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
        for number, row in enumerate(rows, start=1):
            document = read_row(row, f"row {number:,}", f"{name}:{number}", source, settings, report)
            if document is not None:
                yield document
    except (OSError, ValueError, RuntimeError) as error:
        # These include DatasetNotFoundError, a wrong config or split, and network errors.
        raise CorpusError(
            f"cannot be loaded from the Hub: {str(error).splitlines()[0] if str(error) else error!r}"
        ) from None
