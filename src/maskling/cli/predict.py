"""`maskling predict`: run a fine-tuned model on files of texts, and write its predictions."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from cyclopts import Parameter

from maskling.cli.format import shortened
from maskling.cli.inputs import check_out_file, column_settings
from maskling.cli.options import SettingPairs
from maskling.console import Console, counted, printable
from maskling.errors import SettingsError
from maskling.files import atomic_write

if TYPE_CHECKING:
    from maskling.data.labelled.records import Record, RecordKind
    from maskling.infer.results import Prediction


def predict(
    model: Annotated[
        Path,
        Parameter(help="fine-tuned model: a run of 'maskling finetune', or a Hugging Face folder with a task head"),
    ],
    /,
    *files: Annotated[str, Parameter(help="JSONL, CSV, TSV, .txt, CoNLL or SQuAD files; -: standard input")],
    text: Annotated[
        list[str] | None,
        Parameter(help="predict on this text instead of files; a pair has a tab between its texts", metavar="TEXT"),
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="write to this file; .jsonl, .csv or .conll select the format", metavar="FILE")
    ] = None,
    threshold: Annotated[
        float | None,
        Parameter(help="for multi-label models: least probability of a predicted label; default: as in training"),
    ] = None,
    n_best: Annotated[int, Parameter(help="number of answers per question, with --json")] = 3,
    allow_none: Annotated[
        bool | None,
        Parameter(
            help="allow 'no answer' (--no-allow-none: never); default: as in training",
            negative="--no-allow-none",
        ),
    ] = None,
    json: Annotated[bool, Parameter(help="one line of JSON per record on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Run a fine-tuned model.

    It classifies or scores texts, tags words or answers questions, as it was trained to. One line per record: the
    prediction, its probability and the text, separated by tabs. --columns.text and --columns.text-pair name the columns
    of a file if their names are not recognized.

    Example: maskling predict runs/classifier reviews.jsonl --out labels.tsv
    """
    columns = column_settings(settings)
    console = Console(as_json=json)
    if out is not None:
        check_out_file(out, files)
    if files and text:
        raise SettingsError("give files or --text, not both")
    if not files and not text and (sys.stdin is None or sys.stdin.isatty()):
        raise SettingsError("there is nothing to predict on: give FILES, - for standard input, or --text TEXT")

    from maskling.data.labelled.reader import RecordReader
    from maskling.infer.model import load
    from maskling.infer.predict import predict_all

    loaded = load(model, device=device)
    scorer = loaded.need_task_scorer("predict")
    kind, pairs = scorer.head_config.kind, scorer.head_config.answer_settings.pairs
    labels = scorer.head_config.labels
    if out is not None:
        check_format(out, kind, as_json=json)
    readers = [] if text else [RecordReader(file, kind, columns, pairs=pairs, known=labels) for file in files or ("-",)]
    sources: list[Any] = [[[_record(line, kind, pairs) for line in text]]] if text else list(readers)
    done = cut = 0
    with prediction_writer(out, console) as writer:
        for source in sources:
            for records in source:
                predicted = predict_all(
                    loaded, scorer, records, threshold=threshold, n_best=n_best, allow_none=allow_none
                )
                for record, prediction in zip(records, predicted.predictions, strict=True):
                    writer.write(record, prediction)
                done, cut = done + len(records), cut + predicted.cut
                if out is not None:
                    console.progress(counted(done, "prediction"), done, None)
    console.clear()
    for warning in [warning for reader in readers for warning in reader.warnings]:
        console.warn(warning)
    if cut:
        console.warn(f"{cut:,} of them were longer than the model takes and were cut")
    if out is not None:
        console.note(f"{counted(done, 'prediction')} written to {out}")


def _record(text: str, kind: RecordKind, pairs: bool | None) -> Record:
    from maskling.data.labelled.reader import parse_line
    from maskling.data.labelled.tables import BadRowError

    try:
        return parse_line(text, kind, pairs)
    except BadRowError as error:
        raise SettingsError(f"--text '{shortened(text)}' {error}") from None


_BREAKS = re.compile(r"[\t\r\n]")
_JSON_LINES_SUFFIXES = (".jsonl", ".ndjson")
_CONLL_SUFFIXES = (".conll", ".bio", ".iob", ".iob2")


class PredictionWriter:
    """Writes predictions to the console or a file: as tab-separated columns, CSV, CoNLL columns or JSON."""

    def __init__(self, console: Console, file: BinaryIO | None, format_: Callable[[Record, Prediction], str]) -> None:
        self._console, self._file, self._format = console, file, format_
        self.count = 0

    def write(self, record: Record, prediction: Prediction) -> None:
        """Write the prediction of one record."""
        if self._file is None:
            self._console.data(as_dict(record, prediction))
            self._console.result(as_cells(record, prediction))
        else:
            self._file.write(self._format(record, prediction).encode(errors="backslashreplace") + b"\n")
        self.count += 1


def check_format(out: Path, kind: RecordKind, *, as_json: bool) -> None:
    """Raise SettingsError for an output suffix that does not fit the model. kind: of its head."""
    if as_json:
        return
    if out.suffix in _CONLL_SUFFIXES and kind != "tag":
        raise SettingsError(
            f"{out}: CoNLL columns hold words and tags, but this model does not tag; choose .jsonl, .csv or .tsv"
        )
    if out.suffix == ".json":
        raise SettingsError(f"{out}: predictions are written as JSON Lines; name the file .jsonl")


@contextlib.contextmanager
def prediction_writer(out: Path | None, console: Console) -> Iterator[PredictionWriter]:
    """Yield a writer to `out`, in the format of its suffix, or to the console if it is None.

    The file is complete or absent: if an error or a stop interrupts, earlier predictions are kept beside `out`.
    """
    if out is None:
        yield PredictionWriter(console, None, as_cells)
        return
    format_, writer = _format_of(out, console.as_json), None
    unfinished = out.with_name(f"{out.name}.unfinished")
    try:
        with atomic_write(out, unfinished) as file:
            writer = PredictionWriter(console, file, format_)
            yield writer
    except BaseException:
        if writer is not None and writer.count:
            console.clear()
            console.warn(f"the {counted(writer.count, 'prediction')} made before that are in {unfinished}")
        raise
    unfinished.unlink(missing_ok=True)


def _format_of(out: Path, as_json: bool) -> Callable[[Record, Prediction], str]:
    if as_json or out.suffix in _JSON_LINES_SUFFIXES:
        return lambda record, prediction: json.dumps(as_dict(record, prediction), ensure_ascii=False)
    if out.suffix == ".csv":
        return as_csv
    return as_conll if out.suffix in _CONLL_SUFFIXES else as_cells


def as_csv(record: Record, prediction: Prediction) -> str:
    """Return a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(_cells(record, prediction))
    return line.getvalue()


def as_conll(_: Record, prediction: Prediction) -> str:
    """Return a line per word with its tag, and an empty line after the sentence."""
    from maskling.infer.results import Tagged

    assert isinstance(prediction, Tagged), "see check_format"
    # A tab separates them, as words and types of entities may have spaces.
    return "".join(f"{_BREAKS.sub(' ', word.text)}\t{word.tag}\n" for word in prediction.words)


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
