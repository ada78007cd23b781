"""Reader of Parquet, one batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_seekable
from maskling.corpus.readers.fields import FieldError, get_name, get_text, missing
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError, MissingExtra

_BATCH_ROWS = 256


def read_parquet(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row; settings.text_field is the name of the column, with dots for fields of structs.

    Raises MissingExtra without pyarrow, and CorpusError for a file that is damaged or lacks the column.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "data", "reading Parquet files") from None
    with open_seekable(source, report) as stream:
        try:
            file = pyarrow.parquet.ParquetFile(stream)
            names = file.schema_arrow.names
            paths = [path for path in (settings.text_field, settings.id_field) if path]
            # Only the columns with text and name are read; a struct is read as a whole.
            columns = [path if path in names else path.split(".")[0] for path in paths]
            for path, column in zip(paths, columns, strict=True):
                if column not in names:
                    raise CorpusError(missing(path, names))
            number = 0
            for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=columns):
                for row in _rows(batch):
                    number += 1
                    if row is None:
                        report.add_fault(f"row {number:,} is not UTF-8")
                        continue
                    try:
                        text = get_text(row, settings.text_field)
                        name = get_name(row, settings.id_field, f"{source.name}:{number}")
                    except FieldError as error:
                        report.add_fault(f"row {number:,} {error}")
                    else:
                        yield Document(text, name, source.location)
        except pyarrow.ArrowException as error:
            raise CorpusError(f"is not a complete Parquet file: {str(error).splitlines()[0]}") from None


def _rows(batch: Any) -> Iterator[dict[str, Any] | None]:
    """Yield the rows of a batch; None for a row that is not valid UTF-8, which other programs may write."""
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            try:
                yield batch.slice(index, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield None
