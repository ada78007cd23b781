"""`maskling predict`: labels, tags and answers for files of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from maskling.cli.places import check_out_file
from maskling.cli.settings import SettingPairs, layers
from maskling.console import Console, counted
from maskling.errors import SettingsError


def predict(
    model: Annotated[Path, Parameter(help="what 'maskling finetune' made, or such a Hugging Face folder")],
    /,
    *files: Annotated[str, Parameter(help="JSONL, CSV, TSV, .txt, CoNLL or SQuAD files; - is standard input")],
    text: Annotated[
        list[str] | None, Parameter(help="predict on this text, in quotes, instead of files", metavar="TEXT")
    ] = None,
    out: Annotated[
        Path | None, Parameter(help="write to this file; JSON Lines if it ends in .jsonl", metavar="FILE")
    ] = None,
    threshold: Annotated[
        float | None,
        Parameter(help="where a text may have several labels: least probability of each; as in training, if left out"),
    ] = None,
    n_best: Annotated[int, Parameter(help="how many answers to a question, with --json")] = 3,
    allow_none: Annotated[bool, Parameter(help="let questions have no answer, if that is the likeliest")] = False,
    json: Annotated[bool, Parameter(help="one line of JSON for each text on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Judge texts, tag words or answer questions, whichever a fine-tuned model does.

    One line for each record: the prediction, its probability, the text, with tabs between them. --columns.text and
    --columns.text-pair name the columns of a file whose own names are not known.

    Example: maskling predict runs/classifier reviews.jsonl --out labels.tsv
    """
    from maskling.config import Settings, resolve
    from maskling.data.labelled.columns import Columns

    class InputSettings(Settings):
        columns: Columns = Columns()

    columns = resolve(InputSettings, layers(None, settings)).settings.columns
    console = Console(as_json=json)
    if out is not None:
        check_out_file(out)
    if files and text:
        raise SettingsError("give files, or texts with --text, not both")
    if not files and not text and (sys.stdin is None or sys.stdin.isatty()):
        raise SettingsError("there is nothing to predict on: give FILES, - for standard input, or --text TEXT")

    from maskling.cli.predicted import lines_to
    from maskling.data.labelled.records import TextRecord
    from maskling.infer.inputs import Inputs
    from maskling.infer.load import load
    from maskling.infer.predict import predict_all

    loaded = load(model, device=device)
    judge = loaded.need_judge("predict")
    sources: list[Inputs] = [Inputs(file, judge.head_config.kind, columns) for file in files or ("-",)]
    given: list[Any] = [[[TextRecord("", one) for one in text]]] if text else list(sources)
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
