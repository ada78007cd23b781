"""Predictions as lines: on the screen, or in a file that is whole or absent."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from maskling.console import Console, counted, printable
from maskling.data.labelled.records import QuestionRecord, TextRecord
from maskling.files import written_aside
from maskling.infer.predictions import Prediction, Tagged

if TYPE_CHECKING:
    from maskling.infer.inputs import Record


class Lines:
    """Where predictions go, one line each: the columns of a table, or JSON."""

    def __init__(self, console: Console, file: BinaryIO | None, as_json: bool) -> None:
        self._console, self._file, self._as_json = console, file, as_json
        self.count = 0

    def write(self, record: Record, prediction: Prediction) -> None:
        """Add the line of one record."""
        if self._file is None:
            self._console.data(as_dict(record, prediction))
            self._console.result(as_cells(record, prediction))
        else:
            line = json.dumps(as_dict(record, prediction), ensure_ascii=False) if self._as_json else None
            line = as_cells(record, prediction) if line is None else line
            self._file.write(line.encode(errors="backslashreplace") + b"\n")
        self.count += 1


@contextlib.contextmanager
def lines_to(out: Path | None, console: Console) -> Iterator[Lines]:
    """Write to `out`, JSON Lines where its name says so, or show what is predicted if it is None.

    Where an error or a stop comes in between, what was predicted before is kept beside `out`.
    """
    if out is None:
        yield Lines(console, None, console.as_json)
        return
    as_json, lines = console.as_json or out.suffix in (".jsonl", ".ndjson"), None
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        with written_aside(out, unfinished) as file:
            lines = Lines(console, file, as_json)
            yield lines
    except BaseException:
        if lines is not None and lines.count:
            console.clear()
            console.warn(f"the {counted(lines.count, 'prediction')} made until then are in {unfinished}")
        raise
    unfinished.unlink(missing_ok=True)


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
    cells = prediction.cells()
    if isinstance(record, QuestionRecord):
        cells.append(record.question)
    elif isinstance(record, TextRecord) and not isinstance(prediction, Tagged):
        cells += [record.text, *([] if record.text_pair is None else [record.text_pair])]
    return "\t".join(printable(cell.replace("\t", " ")) for cell in cells)
