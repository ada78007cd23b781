"""Reader of JSON Lines: one JSON object per line, with the text in one of its fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import orjson

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.fields import FieldError, get_name, get_text
from maskling.corpus.settings import CorpusSettings

# A line of 100 MB may be a document; a line of 256 million characters means that the file is not JSON Lines.
LONGEST_LINE = 1 << 28


def read_jsonl(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each line; lines that are not JSON or lack the field are reported and skipped."""
    with open_bytes(source, report) as stream:
        number, cut = 0, False
        for line in split_into_lines(decode(stream, settings, report), LONGEST_LINE):
            continued, cut = cut, len(line) >= LONGEST_LINE and not line.endswith("\n")
            if continued:
                continue
            number += 1
            if cut:
                report.add_fault(f"line {number:,} is longer than {LONGEST_LINE:,} characters")
                continue
            if line.isspace():
                continue
            try:
                row = _parse(line)
                text = get_text(row, settings.text_field)
                name = get_name(row, settings.id_field, f"{source.name}:{number}")
            except FieldError as error:
                report.add_fault(f"line {number:,} {error}")
            else:
                yield Document(text, name, source.location)


def _parse(line: str) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    # NaN and lone surrogates are not JSON, but Python and JavaScript write them.
    try:
        return json.loads(line)
    except RecursionError:
        raise FieldError("is nested too deeply") from None
    except ValueError as error:
        raise FieldError(f"is not JSON ({error})") from None
