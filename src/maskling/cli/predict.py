"""`maskling predict`: labels, tags and answers for files of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from maskling.cli.layout import shortened
from maskling.cli.places import check_out_file
from maskling.cli.reading import columns_in
from maskling.cli.settings import SettingPairs
from maskling.console import Console, counted
from maskling.errors import DataError, SettingsError

if TYPE_CHECKING:
    from maskling.infer.inputs import Record
    from maskling.model.tasks.config import HeadKind


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

    from maskling.cli.predicted import check_form, lines_to
    from maskling.infer.inputs import Inputs
    from maskling.infer.load import load
    from maskling.infer.predict import predict_all

    loaded = load(model, device=device)
    judge = loaded.need_judge("predict")
    if out is not None:
        check_form(out, judge.head_config.kind, as_json=json)
    kind, pairs = judge.head_config.kind, judge.head_config.judging.pairs
    sources = [] if text else [Inputs(file, kind, columns, pairs=pairs) for file in files or ("-",)]
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
    from maskling.infer.inputs import record_of

    try:
        return record_of(text, kind, pairs)
    except DataError as error:
        raise SettingsError(f"--text '{shortened(text)}' {error}") from None
