"""Predictions as lines: on the screen, or in a file that is whole or absent."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from maskling.console import Console, counted, printable
from maskling.data.labelled.records import QuestionRecord, TextRecord
from maskling.errors import SettingsError
from maskling.files import written_aside
from maskling.infer.predictions import Prediction, Tagged

if TYPE_CHECKING:
    from maskling.infer.inputs import Record
    from maskling.model.tasks.config import HeadKind


JSON_SUFFIXES = (".jsonl", ".ndjson")
CONLL_SUFFIXES = (".conll", ".bio", ".iob", ".iob2")


class Lines:
    """Where predictions go, and how: the columns of a line, for people or as CSV, CoNLL's columns, or JSON."""

    def __init__(self, console: Console, file: BinaryIO | None, form: Callable[[Record, Prediction], str]) -> None:
        self._console, self._file, self._form = console, file, form
        self.count = 0

    def write(self, record: Record, prediction: Prediction) -> None:
        """Add what was predicted of one record."""
        if self._file is None:
            self._console.data(as_dict(record, prediction))
            self._console.result(as_cells(record, prediction))
        else:
            self._file.write(self._form(record, prediction).encode(errors="backslashreplace") + b"\n")
        self.count += 1


def check_form(out: Path, kind: HeadKind, *, as_json: bool) -> None:
    """Raise SettingsError for a file whose name promises what is not written. kind: of the model."""
    if as_json:
        return
    if out.suffix in CONLL_SUFFIXES and kind != "tag":
        raise SettingsError(f"{out}: CoNLL's columns are of words and their tags, which this model does not give")
    if out.suffix == ".json":
        raise SettingsError(f"{out}: a line of JSON for each prediction is written to files that end in .jsonl")


@contextlib.contextmanager
def lines_to(out: Path | None, console: Console) -> Iterator[Lines]:
    """Write to `out`, as its name says, or show what is predicted if it is None.

    Where an error or a stop comes in between, what was predicted before is kept beside `out`.
    """
    if out is None:
        yield Lines(console, None, as_cells)
        return
    form, lines = _form(out, console.as_json), None
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        with written_aside(out, unfinished) as file:
            lines = Lines(console, file, form)
            yield lines
    except BaseException:
        if lines is not None and lines.count:
            console.clear()
            console.warn(f"the {counted(lines.count, 'prediction')} made until then are in {unfinished}")
        raise
    unfinished.unlink(missing_ok=True)


def _form(out: Path, as_json: bool) -> Callable[[Record, Prediction], str]:
    if as_json or out.suffix in JSON_SUFFIXES:
        return lambda record, prediction: json.dumps(as_dict(record, prediction), ensure_ascii=False)
    if out.suffix == ".csv":
        return as_csv
    return as_conll if out.suffix in CONLL_SUFFIXES else as_cells


def as_csv(record: Record, prediction: Prediction) -> str:
    """The columns of a line for people, with commas between them and quotes where they are needed."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(_cells(record, prediction))
    return line.getvalue()


def as_conll(_: Record, prediction: Prediction) -> str:
    """A word and its tag a line, and an empty line behind the sentence."""
    assert isinstance(prediction, Tagged), "see check_form"
    return "".join(f"{word.text} {word.tag}\n" for word in prediction.words)


def as_dict(record: Record, prediction: Prediction) -> dict[str, Any]:
    """What was asked, if the prediction does not hold it itself, and what was said."""
    asked: dict[str, Any] = {"id": record.id} if record.id else {}
    if isinstance(record, QuestionRecord):
        asked["question"] = record.question
    elif isinstance(record, TextRecord):
        asked["text"] = record.text
        if record.text_pair is not None:
            asked["text_pair"] = record.text_pair
    return asked | prediction.as_dict()


def as_cells(record: Record, prediction: Prediction) -> str:
    """The same for people: columns with tabs between them."""
    return "\t".join(printable(cell.replace("\t", " ")) for cell in _cells(record, prediction))


def _cells(record: Record, prediction: Prediction) -> list[str]:
    cells = prediction.cells()
    if isinstance(record, QuestionRecord):
        cells.append(record.question)
    elif isinstance(record, TextRecord) and not isinstance(prediction, Tagged):
        cells += [record.text, *([] if record.text_pair is None else [record.text_pair])]
    return cells
