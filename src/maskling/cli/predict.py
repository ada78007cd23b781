"""`maskling predict`: labels, tags and answers for files of texts."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from cyclopts import Parameter

from maskling.cli.format import shortened
from maskling.cli.inputs import check_out_file, columns_in
from maskling.cli.options import SettingPairs
from maskling.console import Console, counted, printable
from maskling.errors import DataError, SettingsError
from maskling.files import atomic_write

if TYPE_CHECKING:
    from maskling.infer.predict_inputs import Record
    from maskling.infer.results import Prediction
    from maskling.model.tasks.config import HeadKind

# FOLDED DOCS
# [predicted] Predictions as lines: on the screen, or in a file that is whole or absent.


def predict(
    model: Annotated[Path, Parameter(help="what 'maskling finetune' made, or such a Hugging Face folder")],
    /,
    *files: Annotated[str, Parameter(help="JSONL, CSV, TSV, .txt, CoNLL or SQuAD files; - is standard input")],
    text: Annotated[
        list[str] | None,
        Parameter(help="predict on this text instead of files; of two, a pair, with a tab between", metavar="TEXT"),
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="write to this file; .jsonl, .csv or .conll decide how", metavar="FILE")
    ] = None,
    threshold: Annotated[
        float | None,
        Parameter(help="where a text may have several labels: least probability of each; as in training, if left out"),
    ] = None,
    n_best: Annotated[int, Parameter(help="how many answers to a question, with --json")] = 3,
    allow_none: Annotated[
        bool | None,
        Parameter(
            help="let questions have no answer (--no-allow-none: never); as in training, if left out",
            negative="--no-allow-none",
        ),
    ] = None,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Judge texts, tag words or answer questions, whichever a fine-tuned model does.

    One line for each record: the prediction, its probability, the text, with tabs between them. --columns.text and
    --columns.text-pair name the columns of a file whose own names are not known.

    Example: maskling predict runs/classifier reviews.jsonl --out labels.tsv
    """
    columns = columns_in(settings)
    console = Console(as_json=json)
    if out is not None:
        check_out_file(out, files)
    if files and text:
        raise SettingsError("give files, or texts with --text, not both")
    if not files and not text and (sys.stdin is None or sys.stdin.isatty()):
        raise SettingsError("there is nothing to predict on: give FILES, - for standard input, or --text TEXT")

    from maskling.infer.model import load
    from maskling.infer.predict import predict_all
    from maskling.infer.predict_inputs import PredictInputs

    loaded = load(model, device=device)
    judge = loaded.need_task_scorer("predict")
    if out is not None:
        check_form(out, judge.head_config.kind, as_json=json)
    kind, pairs = judge.head_config.kind, judge.head_config.answer_settings.pairs
    sources = [] if text else [PredictInputs(file, kind, columns, pairs=pairs) for file in files or ("-",)]
    given: list[Any] = [[[_record(one, kind, pairs) for one in text]]] if text else list(sources)
    done = cut = 0
    with lines_to(out, console) as lines:
        for source in given:
            for records in source:
                predicted = predict_all(
                    loaded, judge, records, threshold=threshold, n_best=n_best, allow_none=allow_none
                )
                for record, prediction in zip(records, predicted.predictions, strict=True):
                    lines.write(record, prediction)
                done, cut = done + len(records), cut + predicted.cut
                if out is not None:
                    console.progress(counted(done, "prediction"), done, None)
    console.clear()
    for warning in [warning for source in sources for warning in source.warnings]:
        console.warn(warning)
    if cut:
        console.warn(f"{cut:,} of them had a part longer than the model takes, which was cut")
    if out is not None:
        console.note(f"{counted(done, 'prediction')} written to {out}")


def _record(text: str, kind: HeadKind, pairs: bool | None) -> Record:
    from maskling.infer.predict_inputs import record_of

    try:
        return record_of(text, kind, pairs)
    except DataError as error:
        raise SettingsError(f"--text '{shortened(text)}' {error}") from None


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
        with atomic_write(out, unfinished) as file:
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
    from maskling.infer.results import Tagged

    assert isinstance(prediction, Tagged), "see check_form"
    return "".join(f"{word.text} {word.tag}\n" for word in prediction.words)


def as_dict(record: Record, prediction: Prediction) -> dict[str, Any]:
    """What was asked, if the prediction does not hold it itself, and what was said."""
    from maskling.data.labelled.records import QuestionRecord, TextRecord

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
    from maskling.data.labelled.records import QuestionRecord, TextRecord
    from maskling.infer.results import Tagged

    cells = prediction.cells()
    if isinstance(record, QuestionRecord):
        cells.append(record.question)
    elif isinstance(record, TextRecord) and not isinstance(prediction, Tagged):
        cells += [record.text, *([] if record.text_pair is None else [record.text_pair])]
    return cells
