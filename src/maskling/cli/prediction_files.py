"""Files of predictions: JSON Lines, CSV, tab-separated lines, CoNLL columns, and the JSON of SQuAD's scripts."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from maskling.console import Console, counted, printable
from maskling.errors import SettingsError
from maskling.files import atomic_write, write_json

if TYPE_CHECKING:
    from maskling.data.labelled.records import Record, RecordKind
    from maskling.infer.results import Prediction

_BREAKS = re.compile(r"[\t\r\n]")
_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
_CONLL_SUFFIXES = (".conll", ".bio", ".iob", ".iob2")


class PredictionFormat(ABC):
    """How predictions are written. end: what follows the last one."""

    @abstractmethod
    def write(self, record: Record, prediction: Prediction) -> str:
        """Return the lines of one record, without the last line break."""

    def end(self) -> str:
        """Return what follows the last record."""
        return ""

    def warnings(self) -> list[str]:
        """Return a line per kind of problem."""
        return []


class PredictionWriter:
    """Writes predictions to the console or a file."""

    def __init__(self, console: Console, file: BinaryIO | None, format_: PredictionFormat) -> None:
        self._console, self._file, self._format = console, file, format_
        self.count = 0
        self.warnings = format_.warnings

    def write(self, record: Record, prediction: Prediction) -> None:
        """Write the prediction of one record."""
        if self._file is None:
            self._console.data(as_dict(record, prediction))
            self._console.result(as_cells(record, prediction))
        else:
            self._add(self._format.write(record, prediction) + "\n")
        self.count += 1

    def finish(self) -> None:
        """Write what follows the last record."""
        if self._file is not None:
            self._add(self._format.end())

    def _add(self, text: str) -> None:
        assert self._file is not None
        self._file.write(text.encode(errors="backslashreplace"))


def check_format(out: Path, kind: RecordKind, *, as_json: bool) -> None:
    """Raise SettingsError for an output suffix that does not fit the model. kind: of its head."""
    if as_json:
        return
    if out.suffix in _CONLL_SUFFIXES and kind != "tag":
        raise SettingsError(
            f"{out}: CoNLL columns hold words and tags, but this model does not tag; choose .jsonl, .csv or .tsv"
        )
    if out.suffix == ".json" and kind != "answer":
        raise SettingsError(f"{out}: predictions are written as JSON Lines; name the file .jsonl")


@contextlib.contextmanager
def prediction_writer(out: Path | None, console: Console, *, none_allowed: bool = False) -> Iterator[PredictionWriter]:
    """Yield a writer to `out`, in the format of its suffix, or to the console if it is None.

    The file is complete or absent: if an error or a stop interrupts, earlier predictions are kept beside `out`.
    none_allowed: whether a question may have no answer; then SQuAD's file of probabilities of that is written, too.
    """
    if out is None:
        yield PredictionWriter(console, None, _Lines())
        return
    format_, writer = _format_of(out, console.as_json), None
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        with atomic_write(out, unfinished) as file:
            writer = PredictionWriter(console, file, format_)
            yield writer
            writer.finish()
    except BaseException:
        if writer is not None and writer.count:
            console.clear()
            console.warn(f"the {counted(writer.count, 'prediction')} made before that are in {unfinished}")
        raise
    unfinished.unlink(missing_ok=True)
    if isinstance(format_, _Squad) and none_allowed:
        beside = out.with_suffix(".na_prob.json")
        write_json(beside, format_.no_answer)
        console.note(f"the probabilities of no answer are in {beside}")


def _format_of(out: Path, as_json: bool) -> PredictionFormat:
    if as_json or out.suffix in _JSON_LINES_SUFFIXES:
        return _JsonLines()
    if out.suffix == ".json":
        return _Squad()
    if out.suffix == ".csv":
        return _Csv()
    return _Conll() if out.suffix in _CONLL_SUFFIXES else _Lines()


class _JsonLines(PredictionFormat):
    def write(self, record: Record, prediction: Prediction) -> str:
        return json.dumps(as_dict(record, prediction), ensure_ascii=False)


class _Lines(PredictionFormat):
    def write(self, record: Record, prediction: Prediction) -> str:
        return as_cells(record, prediction)


class _Conll(PredictionFormat):
    """A line per word with its tag, and an empty line after the sentence."""

    def write(self, record: Record, prediction: Prediction) -> str:  # noqa: ARG002
        from maskling.infer.results import Tagged

        assert isinstance(prediction, Tagged), "see check_format"
        # A tab separates them, as words and types of entities may have spaces.
        return "".join(f"{_BREAKS.sub(' ', word.text)}\t{word.tag}\n" for word in prediction.words)


class _Csv(PredictionFormat):
    """A header, and a row per record: its id and columns as in the input, then the prediction."""

    def __init__(self) -> None:
        self._header: list[str] | None = None
        self._own: list[str] = []
        self._left_out: dict[str, None] = {}

    def write(self, record: Record, prediction: Prediction) -> str:
        inputs = _inputs(record)
        lines = []
        if self._header is None:
            self._header = list(inputs)
            taken = set(inputs)
            self._own = [name if name not in taken else f"{name}_of_model" for name in prediction.names]
            lines.append(_csv_line([*self._header, *self._own]))
        self._left_out |= dict.fromkeys(name for name in inputs if name not in self._header)
        cells = [_cell(inputs.get(name)) for name in self._header]
        lines.append(_csv_line([*cells, *prediction.cells()]))
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        if not self._left_out:
            return []
        names = ", ".join(f"'{name}'" for name in self._left_out)
        return [f"the first record does not have the columns {names} of later ones, so they are left out; use .jsonl"]


class _Squad(PredictionFormat):
    """One object of answers by the id of the question, as SQuAD's evaluation scripts read it."""

    def __init__(self) -> None:
        self.no_answer: dict[str, float] = {}

    def write(self, record: Record, prediction: Prediction) -> str:
        from maskling.infer.results import Answered

        assert isinstance(prediction, Answered), "see check_format"
        if record.id in self.no_answer:
            raise SettingsError(
                f"two questions have the id '{record.id}', and a file of answers has one each; use .jsonl"
            )
        begin = "," if self.no_answer else "{"
        self.no_answer[record.id] = prediction.no_answer
        return f"{begin}{json.dumps(record.id)}: {json.dumps(prediction.text, ensure_ascii=False)}"

    def end(self) -> str:
        return "}\n" if self.no_answer else "{}\n"


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _inputs(record: Record) -> dict[str, Any]:
    """Return the id of a record and the columns it had in its file, or its texts."""
    from maskling.data.labelled.records import QuestionRecord, TaggedRecord

    row = None if isinstance(record, TaggedRecord) else record.row
    if row is not None:
        return dict(row) if "id" in row else {"id": record.id, **row}
    if isinstance(record, QuestionRecord):
        return {"id": record.id, "question": record.question}
    if isinstance(record, TaggedRecord):
        return {"id": record.id}
    pair = {} if record.text_pair is None else {"text_pair": record.text_pair}
    return {"id": record.id, "text": record.text, **pair}


def as_dict(record: Record, prediction: Prediction) -> dict[str, Any]:
    """Return the record, as far as the prediction does not hold it, and the prediction."""
    from maskling.data.labelled.records import QuestionRecord, TextRecord

    inputs: dict[str, Any] = {"id": record.id} if record.id else {}
    if isinstance(record, QuestionRecord):
        inputs["question"] = record.question
    elif isinstance(record, TextRecord):
        inputs["text"] = record.text
        if record.text_pair is not None:
            inputs["text_pair"] = record.text_pair
    return inputs | prediction.as_dict()


def as_cells(record: Record, prediction: Prediction) -> str:
    """Return a line of columns separated by tabs."""
    return "\t".join(printable(cell.replace("\t", " ")) for cell in _cells(record, prediction))


def _cells(record: Record, prediction: Prediction) -> list[str]:
    from maskling.data.labelled.records import QuestionRecord, TextRecord
    from maskling.infer.results import Tagged

    cells = prediction.cells()
    if isinstance(record, QuestionRecord):
        cells.append(record.question)
    elif isinstance(record, TextRecord) and not isinstance(prediction, Tagged):
        cells += [record.text, *([] if record.text_pair is None else [record.text_pair])]
    return cells
