"""Reader of JSON and JSON Lines: objects with the text in one of their fields, told apart by content."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

import orjson

from maskling.corpus.decoding import decode, split_into_lines
from maskling.corpus.document import Document, Source
from maskling.corpus.opening import FileReport, open_bytes
from maskling.corpus.readers.cirrus import CirrusPages, is_cirrus_page
from maskling.corpus.readers.fields import read_row, split_paths
from maskling.corpus.readers.json_values import JsonError, read_rows
from maskling.corpus.settings import CorpusSettings
from maskling.errors import CorpusError

# A line of 100 MB may be a document; a line of 256 million characters means that the file is not JSON Lines.
LONGEST_LINE = 1 << 28
# Two lines are looked for in this many characters to tell the forms apart.
_PROBE = 1 << 20
_BOM = "\ufeff"
_AFTER_VALUE = re.compile(r"[ \t]*,?[ \t]*")


def read_jsonl(source: Source, settings: CorpusSettings, report: FileReport) -> Iterator[Document]:
    """Yield a document for each row: a line of JSON Lines, or an object of a list or of objects over several lines.

    Lines that are not JSON or lack the field are reported and skipped. A file that is one list, or an object with a
    list in it that settings.text_field leads through, is read item by item.
    """
    with open_bytes(source, report) as stream:
        blocks = decode(stream, settings, report)
        start = ""
        while len(start) < _PROBE and len(_first_lines(start)) < 2 and (block := next(blocks, None)) is not None:
            start += block
        whole = chain((start,), blocks)
        if _has_rows_on_lines(_first_lines(start), len(start) >= _PROBE, settings.text_field):
            yield from _read_lines(split_into_lines(whole, LONGEST_LINE), source, settings, report)
        else:
            yield from _read_values(whole, source, settings, report)


def _first_lines(text: str) -> list[str]:
    """Return the first two lines that are not empty, the last of which may be cut."""
    found: list[str] = []
    at = 0
    while at < len(text) and len(found) < 2:
        end = text.find("\n", at) + 1 or len(text)
        if line := _stripped(text[at:end]):
            found.append(line)
        at = end
    return found


def _has_rows_on_lines(first: list[str], cut: bool, text_field: str) -> bool:
    """Return whether each line of a file that begins with these lines is a value. cut: the last is not whole."""
    if not first or first[0].startswith("["):
        return not first
    if len(first) == 1:
        # One line: one row, unless settings.text_field may lead to a list of rows in it.
        return "." not in text_field and (cut or _is_json(first[0]))
    return _is_json(first[0]) or (first[0] != "{" and first[1].startswith("{") and (cut or _is_json(first[1])))


def _read_lines(
    lines: Iterator[str], source: Source, settings: CorpusSettings, report: FileReport
) -> Iterator[Document]:
    number, cut, actions = 0, False, 0
    pages = CirrusPages(source, settings, report)
    for line in lines:
        continued, cut = cut, len(line) >= LONGEST_LINE and not line.endswith("\n")
        if continued:
            continue
        number += 1
        if cut:
            report.add_fault(f"line {number:,} is longer than {LONGEST_LINE:,} characters")
            continue
        text = _stripped(line)
        if not text:
            continue
        try:
            rows = _parse_line(text)
        except ValueError as error:
            report.add_fault(f"line {number:,} {error}")
            continue
        for index, row in enumerate(rows, start=1):
            if _is_action(row):
                actions += 1
                continue
            if actions and settings.text_field == "text" and is_cirrus_page(row):
                actions -= 1
                document = pages.document(row)
            else:
                name = f"{source.name}:{number}" + (f".{index}" if index > 1 else "")
                document = read_row(row, f"line {number:,}", name, source, settings, report)
            if document is not None:
                yield document
    if actions:
        report.notes["lines are actions of an Elasticsearch file, without text"] += actions


def _read_values(
    blocks: Iterator[str], source: Source, settings: CorpusSettings, report: FileReport
) -> Iterator[Document]:
    lead = _lead(settings.text_field)
    inner = settings
    if lead is not None:
        fields = ",".join(path.partition(".")[2] for path in split_paths(settings.text_field))
        names = settings.id_field.removeprefix(f"{lead}.") if settings.id_field else None
        inner = settings.model_copy(update={"text_field": fields, "id_field": names})
    try:
        for number, (line, row, within) in enumerate(read_rows(blocks, lead, LONGEST_LINE), start=1):
            used = inner if within else settings
            where = f"the value at line {line:,}"
            document = read_row(row, where, f"{source.name}:{number}", source, used, report)
            if document is not None:
                yield document
    except JsonError as error:
        raise CorpusError(str(error)) from None


def _lead(text_field: str) -> str | None:
    """Return the key of the list of rows that every field is in ('data' for 'data.title,data.text'), if any."""
    paths = [path.split(".") for path in split_paths(text_field)]
    return paths[0][0] if all(len(path) > 1 and path[0] == paths[0][0] for path in paths) else None


def _is_action(row: Any) -> bool:
    """Return whether a row precedes a document in a file for Elasticsearch, such as Wikipedia's Cirrus dumps."""
    return isinstance(row, dict) and list(row) == ["index"] and isinstance(row["index"], dict) and "_id" in row["index"]


def _stripped(line: str) -> str:
    """Return a line without white space and the byte order marks that joining files leaves in their middle."""
    text = line.strip()
    return text.lstrip(_BOM).lstrip() if text.startswith(_BOM) else text


def _is_json(text: str) -> bool:
    try:
        _parse(text)
    except ValueError:
        return False
    return True


def _parse_line(line: str) -> list[Any]:
    """Parse a line: one value, or several with or without commas. Raises ValueError with what is wrong."""
    try:
        return [_parse(line)]
    except ValueError:
        values = _parse_several(line)
        if values is None:
            raise
        return values


def _parse_several(line: str) -> list[Any] | None:
    """Return the objects of a line, each of which may be followed by a comma; None if the line is anything else."""
    decoder, values, at = json.JSONDecoder(strict=False), [], 0
    while at < len(line):
        try:
            value, at = decoder.raw_decode(line, at)
        except (ValueError, RecursionError):
            return None
        if not isinstance(value, dict):
            return None
        values.append(value)
        at = _AFTER_VALUE.match(line, at).end()  # type: ignore[union-attr]  # it matches the empty text
    return values


def _parse(line: str) -> Any:
    """Parse a line. Raises ValueError with what is wrong."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    # NaN, lone surrogates, and tabs in texts are not JSON, but other programs write them.
    try:
        return json.loads(line, strict=False)
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from None
