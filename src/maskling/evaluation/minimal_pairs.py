"""Minimal pairs: read pairs of sentences from files, and measure how often the right one scores higher.

The files are those of BLiMP, or plain tables of two columns.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, open_bytes
from maskling.corpus.sources import expand
from maskling.errors import DataError
from maskling.infer.forward import ModelRunner
from maskling.infer.score import Method, total_scores

_JSON = (".jsonl", ".ndjson", ".json")
_TABLES = (".tsv", ".csv", ".txt")
_GOOD, _BAD = ("sentence_good", "good"), ("sentence_bad", "bad")


@dataclass(frozen=True)
class MinimalPair:
    """A right sentence and a wrong one. paradigm: the phenomenon it tests; field: a group of paradigms."""

    good: str
    bad: str
    paradigm: str
    field: str = ""


@dataclass(frozen=True)
class Paradigm:
    """The results of one paradigm. accuracy: the fraction of correct pairs; a tie counts one half."""

    name: str
    field: str
    pairs: int
    ties: int
    accuracy: float


@dataclass(frozen=True)
class Field:
    """The results of a group of paradigms. accuracy: the mean of theirs."""

    name: str
    paradigms: int
    pairs: int
    ties: int
    accuracy: float


@dataclass(frozen=True)
class PairResults:
    """The results of minimal pairs, by paradigm in the order of the files."""

    paradigms: tuple[Paradigm, ...]

    @property
    def macro_average(self) -> float:
        """The mean of the paradigms' accuracies, as reported for BLiMP."""
        return _mean(self.paradigms)

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return sum(paradigm.pairs for paradigm in self.paradigms)

    @property
    def ties(self) -> int:
        """The number of pairs with equal scores."""
        return sum(paradigm.ties for paradigm in self.paradigms)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The results by field, sorted by name; paradigms without a field are left out."""
        names = sorted({paradigm.field for paradigm in self.paradigms if paradigm.field})
        groups = {name: [paradigm for paradigm in self.paradigms if paradigm.field == name] for name in names}
        return tuple(
            Field(name, len(group), sum(one.pairs for one in group), sum(one.ties for one in group), _mean(group))
            for name, group in groups.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "macro_average": self.macro_average,
            "pairs": self.pairs,
            "ties": self.ties,
            "fields": [asdict(field) for field in self.fields],
            "paradigms": [asdict(paradigm) for paradigm in self.paradigms],
        }


def compare_scores(pairs: Sequence[MinimalPair], good: NDArray[np.float64], bad: NDArray[np.float64]) -> PairResults:
    """Count the pairs whose good sentence has the higher score.

    A tie counts one half, so a model that gives every sentence the same score is at chance, 0.5. (Some scripts take
    the first of two equal scores as the larger, which gives such a model full marks.)
    good, bad: (pairs,) float64, the score of each sentence.
    """
    points = (good > bad) + 0.5 * (good == bad)
    indices: dict[tuple[str, str], list[int]] = {}
    for index, pair in enumerate(pairs):
        indices.setdefault((pair.paradigm, pair.field), []).append(index)
    return PairResults(
        tuple(
            Paradigm(name, field, len(own), int((good == bad)[own].sum()), float(points[own].mean()))
            for (name, field), own in indices.items()
        )
    )


def evaluate_pairs(
    runner: ModelRunner,
    pairs: Sequence[MinimalPair],
    *,
    method: Method = "original",
    batch_tokens: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PairResults:
    """Compare the pseudo-log-likelihoods of the sentences of each pair, not divided by length; see `score_texts`."""
    sentences = [pair.good for pair in pairs] + [pair.bad for pair in pairs]
    totals = total_scores(runner, sentences, method=method, batch_tokens=batch_tokens, on_progress=on_progress)
    good, bad = np.split(totals, 2)
    return compare_scores(pairs, good, bad)


def _mean(found: Sequence[Paradigm]) -> float:
    return float(np.mean([paradigm.accuracy for paradigm in found])) if found else float("nan")


def read_pairs(sources: Sequence[str]) -> list[MinimalPair]:
    """Read the pairs of files, folders of such files, or glob patterns, in order.

    JSON lines have the fields sentence_good and sentence_bad (or good and bad), and optionally `UID`, the paradigm, and
    `field`, as in BLiMP. Tables have the good sentence first, separated by a tab (a comma in .csv); a first line of
    column names may give another order and add UID and field. A file without UIDs is one paradigm with its name.
    BLiMP spells one field in two ways, 'syntax_semantics' and 'syntax/semantics': they are taken as one.
    Raises DataError with file and line for anything but a pair, CorpusError for a missing file.
    """
    pairs: list[MinimalPair] = []
    for source in expand(sources, any_suffix=True):
        # Other files of a folder, such as notes and licences, are skipped; a file that is named is read.
        if source.suffix in _JSON + _TABLES or source.location in sources:
            found = list(_read(source))
            if not found:
                raise DataError(f"{source.location} holds no pairs; write one per line: a good sentence and a bad one")
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
                f"{source.location}, line {number:,}: {' and '.join(_missing(good, bad))} empty or missing; "
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
                raise DataError(f"{source.location}, line {number:,} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise DataError(f"{source.location}, line {number:,} is not a JSON object with two sentences")
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
