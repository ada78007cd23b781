"""Minimal pairs: how often a model finds the right sentence of two the likelier one."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maskling.corpus.document import Source
from maskling.corpus.opening import READ_ERRORS, open_bytes
from maskling.corpus.sources import expand
from maskling.errors import DataError
from maskling.infer.forward import ModelRunner
from maskling.infer.score import Method, Scoring

# FOLDED DOCS
# [pair_files] Minimal pairs from files: BLiMP's as they are, and plain files of two columns.


@dataclass(frozen=True)
class Paradigm:
    """What came out of the pairs of one kind. accuracy: the fraction judged rightly, a tie counting one half."""

    name: str
    field: str
    pairs: int
    ties: int
    accuracy: float


@dataclass(frozen=True)
class Field:
    """A group of paradigms. accuracy: the mean of theirs."""

    name: str
    paradigms: int
    pairs: int
    ties: int
    accuracy: float


@dataclass(frozen=True)
class PairResults:
    """What came out of minimal pairs, by paradigm in the order of the files."""

    paradigms: tuple[Paradigm, ...]

    @property
    def macro_average(self) -> float:
        """The mean of the paradigms' accuracies: the number that BLiMP is known by."""
        return _mean(self.paradigms)

    @property
    def pairs(self) -> int:
        """How many pairs there were."""
        return sum(paradigm.pairs for paradigm in self.paradigms)

    @property
    def ties(self) -> int:
        """How many pairs got equal scores."""
        return sum(paradigm.ties for paradigm in self.paradigms)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The paradigms by field, in the order of the fields' names; paradigms without one are left out."""
        names = sorted({paradigm.field for paradigm in self.paradigms if paradigm.field})
        groups = {name: [paradigm for paradigm in self.paradigms if paradigm.field == name] for name in names}
        return tuple(
            Field(name, len(group), sum(one.pairs for one in group), sum(one.ties for one in group), _mean(group))
            for name, group in groups.items()
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "macro_average": self.macro_average,
            "pairs": self.pairs,
            "ties": self.ties,
            "fields": [asdict(field) for field in self.fields],
            "paradigms": [asdict(paradigm) for paradigm in self.paradigms],
        }


def judge(pairs: Sequence[MinimalPair], good: NDArray[np.float64], bad: NDArray[np.float64]) -> PairResults:
    """Compare scores, the higher one winning.

    A tie counts one half: whoever gives every sentence the same score is at chance, 0.5. (Taking the larger of two
    equal numbers by its place, as some scripts do, gives such a scorer everything.)
    good, bad: (pairs,) float64, the score of each sentence.
    """
    points = (good > bad) + 0.5 * (good == bad)
    numbers: dict[tuple[str, str], list[int]] = {}
    for number, pair in enumerate(pairs):
        numbers.setdefault((pair.paradigm, pair.field), []).append(number)
    return PairResults(
        tuple(
            Paradigm(name, field, len(own), int((good == bad)[own].sum()), float(points[own].mean()))
            for (name, field), own in numbers.items()
        )
    )


class PairScoring:
    """Pairs being judged by the pseudo-log-likelihood of their sentences (see `Scoring`), not divided by length."""

    def __init__(
        self,
        reader: ModelRunner,
        pairs: Sequence[MinimalPair],
        *,
        method: Method = "original",
        batch_tokens: int | None = None,
    ) -> None:
        self._pairs = pairs
        sentences = [pair.good for pair in pairs] + [pair.bad for pair in pairs]
        self._scoring = Scoring(reader, sentences, method=method, batch_tokens=batch_tokens)

    def run(self) -> Iterator[float]:
        """Score, and yield the part that is done, from 0 to 1, after each batch."""
        return self._scoring.run()

    def results(self) -> PairResults:
        """What came out; once `run` has ended."""
        good, bad = np.split(self._scoring.totals(), 2)
        return judge(self._pairs, good, bad)


def evaluate_pairs(reader: ModelRunner, pairs: Sequence[MinimalPair], *, method: Method = "original") -> PairResults:
    """Judge pairs in one go."""
    scoring = PairScoring(reader, pairs, method=method)
    for _ in scoring.run():
        pass
    return scoring.results()


def _mean(found: Sequence[Paradigm]) -> float:
    return float(np.mean([paradigm.accuracy for paradigm in found])) if found else float("nan")


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
