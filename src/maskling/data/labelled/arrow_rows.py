"""Rows of Parquet and Arrow files, with the names of numbered labels that `datasets` writes into them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from maskling.corpus.opening import open_seekable
from maskling.data.labelled.tables import Fields, OpenFile, as_data_errors
from maskling.errors import DataError, MissingExtra

ARROW_SUFFIXES: Final = (".parquet", ".arrow", ".feather", ".ipc")
_BATCH_ROWS: Final = 256


def arrow_rows(file: OpenFile) -> Iterator[tuple[int, Fields]]:
    """Yield the rows of a Parquet or Arrow file with their number from 1.

    Raises MissingExtra without pyarrow, DataError for a file that is damaged.
    """
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("pyarrow", "data", "reading Parquet and Arrow files") from None
    number = 0
    with as_data_errors(file.path), open_seekable(file.source) as stream:
        try:
            if file.source.suffix == ".parquet":
                opened = pyarrow.parquet.ParquetFile(stream)
                schema, batches = opened.schema_arrow, opened.iter_batches(batch_size=_BATCH_ROWS)
            else:
                is_file = stream.read(6) == b"ARROW1"
                stream.seek(0)
                opened = pyarrow.ipc.open_file(stream) if is_file else pyarrow.ipc.open_stream(stream)
                schema = opened.schema
                batches = (opened.get_batch(at) for at in range(opened.num_record_batches)) if is_file else opened
            file.label_names = _label_names(schema.metadata or {})
            for batch in batches:
                for first in range(0, batch.num_rows, _BATCH_ROWS):
                    for row in batch.slice(first, _BATCH_ROWS).to_pylist():
                        number += 1
                        yield number, row
        except (pyarrow.ArrowException, UnicodeDecodeError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise DataError(f"{file.path} cannot be read after row {number:,}: {reason}") from None


def _label_names(metadata: Mapping[bytes, bytes]) -> dict[str, tuple[str, ...]]:
    """Return the names of the classes of each column, from the features of `datasets`."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        found = {str(column): _class_names(feature) for column, feature in features.items()}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}
    return {column: names for column, names in found.items() if names}


def _class_names(feature: Any) -> tuple[str, ...]:
    if isinstance(feature, list) and feature:
        return _class_names(feature[0])
    if not isinstance(feature, Mapping):
        return ()
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list):
        return tuple(map(str, names))
    return _class_names(feature.get("feature"))
