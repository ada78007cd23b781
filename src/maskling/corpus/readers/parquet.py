"""Readers of Parquet and Arrow IPC (files, streams, Feather, `datasets`), one batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_seekable
from maskling.corpus.readers.fields import missing, read_row, split_paths
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError, MissingExtra

_BATCH_ROWS = 256
_ARROW_FILE = b"ARROW1"
_FEATHER_1 = b"FEA1"


def read_parquet(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row; settings.text_field is the name of the column, with dots for fields of structs.

    Raises MissingExtra without pyarrow, and CorpusError for a file that is damaged or lacks the column.
    """
    pyarrow = _pyarrow("reading Parquet files")
    with open_seekable(source, report) as stream:
        try:
            file = pyarrow.parquet.ParquetFile(stream)
            columns = _columns(file.schema_arrow, settings)
            batches = file.iter_batches(batch_size=_BATCH_ROWS, columns=columns)
            yield from _documents(batches, source, settings, report)
        except pyarrow.ArrowException as error:
            raise CorpusError(f"is not a complete Parquet file: {_first_line(error)}") from None


def read_arrow(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row of Arrow's IPC format, file or stream, as `read_parquet` does.

    Raises MissingExtra without pyarrow, and CorpusError for a file that is damaged or lacks the column.
    """
    pyarrow = _pyarrow("reading Arrow files")
    with open_seekable(source, report) as stream:
        try:
            mark = stream.read(len(_ARROW_FILE))
            stream.seek(0)
            if mark.startswith(_FEATHER_1):
                raise CorpusError("is Feather version 1, which is not read; save it as Parquet")
            if mark == _ARROW_FILE:
                file = pyarrow.ipc.open_file(stream)
                batches = (file.get_batch(number) for number in range(file.num_record_batches))
            else:
                file = batches = pyarrow.ipc.open_stream(stream)
            columns = _columns(file.schema, settings)
            small = (
                batch.select(columns).slice(start, _BATCH_ROWS)
                for batch in batches
                for start in range(0, batch.num_rows, _BATCH_ROWS)
            )
            yield from _documents(small, source, settings, report)
        except (pyarrow.ArrowException, OSError) as error:
            raise CorpusError(f"is not a complete Arrow file: {_first_line(error)}") from None


def _pyarrow(purpose: str) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "data", purpose) from None
    return pyarrow


def _columns(schema: Any, settings: CorpusSettings) -> list[str]:
    """Return the columns with text and name: only these are read, a struct as a whole."""
    names = schema.names
    texts = [settings.text_field] if settings.text_field in names else split_paths(settings.text_field)
    wanted = [(path, "corpus.text_field") for path in texts]
    wanted += [(settings.id_field, "corpus.id_field")] if settings.id_field else []
    columns = []
    for path, setting in wanted:
        column = path if path in names else path.split(".")[0]
        if column not in names:
            raise CorpusError(missing(path, [field for one in schema for field in _fields(one)], setting))
        if names.count(column) > 1:
            raise CorpusError(f"has several columns named '{column}'; rename all but one of them")
        columns.append(column)
    return list(dict.fromkeys(columns))


def _fields(field: Any) -> list[str]:
    """Return the name of a column, or those of the fields of a struct."""
    if not str(field.type).startswith("struct<"):
        return [field.name]
    return [f"{field.name}.{inner.name}" for inner in field.type]


def _documents(
    batches: Iterator[Any], source: Source, settings: CorpusSettings, report: FileReport
) -> Iterator[Document]:
    number = 0
    for batch in batches:
        for row in _rows(batch):
            number += 1
            if row is None:
                report.add_fault(f"row {number:,} is not UTF-8")
                continue
            document = read_row(row, f"row {number:,}", f"{source.name}:{number}", source, settings, report)
            if document is not None:
                yield document


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


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
