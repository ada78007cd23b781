"""`maskling predict`: run a fine-tuned model on files of texts, and write its predictions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from maskling.adapters import adapters_on
from maskling.cli.format import shortened
from maskling.cli.inputs import BaseModelFolder, check_out_file, column_settings
from maskling.cli.options import SettingPairs
from maskling.cli.prediction_files import check_format, prediction_writer
from maskling.cli.texts import is_text
from maskling.console import Console, counted
from maskling.errors import SettingsError

if TYPE_CHECKING:
    from maskling.data.labelled.records import Record, RecordKind


def predict(
    model: Annotated[
        Path,
        Parameter(help="fine-tuned model: a run of 'maskling finetune', or a Hugging Face folder with a task head"),
    ],
    /,
    *files: Annotated[
        str,
        Parameter(
            help="JSONL, CSV, TSV, Parquet, .txt, CoNLL or SQuAD files, also compressed; -: standard input; or a text, "
            "in quotes"
        ),
    ],
    text: Annotated[
        list[str] | None,
        Parameter(help="predict on this text instead of files; a pair has a tab between its texts", metavar="TEXT"),
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(
            help="write to this file; .jsonl, .csv, .tsv, .conll or, for answers, .json (SQuAD) select the format",
            metavar="FILE",
        ),
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
    base: BaseModelFolder = None,
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
    if asked := [one for one in files if is_text(one)]:
        text, files = [*asked, *(text or ())], tuple(one for one in files if not is_text(one))
    if files and text:
        raise SettingsError("give files or --text, not both")
    for one in files:
        if one != "-" and "." not in one and not Path(one).exists():
            raise SettingsError(f"{one}: there is no such file; to predict on this text give --text '{one}'")
    if not files and not text and (sys.stdin is None or sys.stdin.isatty()):
        raise SettingsError("there is nothing to predict on: give FILES, - for standard input, or --text TEXT")

    from maskling.data.labelled.reader import RecordReader
    from maskling.infer.model import load
    from maskling.infer.predict import predict_all

    with adapters_on(base):
        loaded = load(model, device=device)
    scorer = loaded.need_task_scorer("predict")
    kind, pairs = scorer.head_config.kind, scorer.head_config.answer_settings.pairs
    labels = scorer.head_config.labels
    if out is not None:
        check_format(out, kind, as_json=json)
    none_allowed = scorer.head_config.answer_settings.allow_none if allow_none is None else allow_none
    readers = [] if text else [RecordReader(file, kind, columns, pairs=pairs, known=labels) for file in files or ("-",)]
    sources: list[Any] = [[[_record(line, kind, pairs) for line in text]]] if text else list(readers)
    done = cut = 0
    with prediction_writer(out, console, none_allowed=none_allowed) as writer:
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
        for warning in writer.warnings():
            console.warn(warning)
        console.note(f"{counted(done, 'prediction')} written to {out}")


def _record(text: str, kind: RecordKind, pairs: bool | None) -> Record:
    from maskling.data.labelled.reader import parse_line
    from maskling.data.labelled.tables import BadRowError

    try:
        return parse_line(text, kind, pairs)
    except BadRowError as error:
        raise SettingsError(f"--text '{shortened(text)}' {error}") from None
