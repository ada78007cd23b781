"""Minimal pairs from files: BLiMP's as they are, and plain files of two columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, open_bytes
from maskling.corpus.sources import expand
from maskling.errors import DataError

_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".tsv", ".csv", ".txt")
_GOOD, _BAD = ("sentence_good", "good"), ("sentence_bad", "bad")


@dataclass(frozen=True)
class MinimalPair:
    """Two sentences of which the first is right. paradigm: what the pair is about; field: a group of paradigms."""

    good: str
    bad: str
    paradigm: str
    field: str = ""


def read_pairs(sources: Sequence[str]) -> list[MinimalPair]:
    """The pairs of files, of folders of such files, or of what a pattern matches, in their order.

    JSON lines name the sentences sentence_good and sentence_bad (or good and bad), and may say `UID`, the paradigm, and
    `field`, as BLiMP's do. Tables have the good sentence first, with a tab between (a comma in .csv); a first line of
    column names may order them otherwise and add UID and field. Without a UID a file is a paradigm of its name.
    BLiMP writes one field two ways, 'syntax_semantics' and 'syntax/semantics': they are taken as one.
    Raises DataError with file and line for what is no pair, CorpusError for what is not there.
    """
    pairs: list[MinimalPair] = []
    for source in expand(sources, any_suffix=True):
        # Of a folder, notes and licences are no pairs; a file that is named is meant.
        if source.suffix in _JSON + _TABLES or source.location in sources:
            found = list(_read(source))
            if not found:
                raise DataError(f"{source.location} holds no pairs; each line is one: a good sentence and a bad one")
            pairs += found
    if not pairs:
        raise DataError(f"{', '.join(sources)}: there is no file of pairs here ({', '.join(_JSON + _TABLES)})")
    return pairs


def _read(source: Source) -> Iterator[MinimalPair]:
    try:
        with open_bytes(source) as stream:
            lines = stream.read().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{source.location} is not UTF-8 (byte {error.start:,}); convert it first") from None
    except READ_ERRORS as error:
        raise DataError(f"{source.location} cannot be read: {error}") from None
    rows = _json_rows(source, lines) if source.suffix in _JSON else _table_rows(source, lines)
    name = source.name.split(".")[0]
    for number, row in rows:
        good, bad = (str(_first(row, names) or "").strip() for names in (_GOOD, _BAD))
        if not good or not bad:
            raise DataError(
                f"{source.location}, line {number:,}: {' and '.join(_missing(good, bad))} empty or not there; "
                f"name them sentence_good and sentence_bad, or give a table with the good sentence first"
            )
        field = str(row.get("field") or "").replace("/", "_")
        yield MinimalPair(good, bad, str(row.get("UID") or name), field)


def _json_rows(source: Source, lines: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise DataError(f"{source.location}, line {number:,} is no JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{source.location}, line {number:,} is no JSON object with two sentences in it")
            yield number, row


def _table_rows(source: Source, lines: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if source.suffix == ".csv":
        rows = csv.reader(lines)
    else:
        rows = csv.reader((line.rstrip("\r") for line in lines), delimiter="\t", quoting=csv.QUOTE_NONE)
    names: list[str] | None = None
    try:
        for row in rows:
            if not any(map(str.strip, row)):
                continue
            if names is None:
                header = [cell.strip() for cell in row]
                if _first(dict.fromkeys(header, "named"), _GOOD) and _first(dict.fromkeys(header, "named"), _BAD):
                    names = header
                    continue
                names = ["good", "bad"]
            if len(row) != len(names):
                raise DataError(
                    f"{source.location}, line {rows.line_num:,} has {len(row)} column{'' if len(row) == 1 else 's'} "
                    f"where {len(names)} are expected; put a {'comma' if source.suffix == '.csv' else 'tab'} between "
                    f"the good sentence and the bad one"
                )
            yield rows.line_num, dict(zip(names, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{source.location}, line {rows.line_num:,} is not a row of a table: {error}") from None


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if name in row), None)


def _missing(good: str, bad: str) -> list[str]:
    lacking = [name for name, text in (("the good sentence", good), ("the bad sentence", bad)) if not text]
    return [*lacking[:-1], f"{lacking[-1]} {'is' if len(lacking) == 1 else 'are'}"]
