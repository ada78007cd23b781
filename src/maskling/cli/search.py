"""`maskling search`: find the texts of files that are nearest in meaning to a query."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.format import shortened, table
from maskling.cli.inputs import check_out_folder, check_sources
from maskling.cli.options import SettingPairs
from maskling.cli.texts import file_reading, is_text, read_texts
from maskling.console import Console, counted
from maskling.errors import SettingsError


def search(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *file: Annotated[
        str,
        Parameter(
            help="texts to search, one per line; other formats are read as in 'prepare'; or the query, in quotes"
        ),
    ],
    query: Annotated[
        list[str] | None, Parameter(help="text to search for; may be given several times", metavar="TEXT")
    ] = None,
    queries: Annotated[
        Path | None, Parameter(help="search for each line of this file; - is standard input", metavar="FILE")
    ] = None,
    text_field: Annotated[
        str | None, Parameter(help="field or column with the text; default: text", metavar="NAME")
    ] = None,
    top_k: Annotated[int, Parameter(help="number of results per query")] = 5,
    index: Annotated[
        Path | None,
        Parameter(help="folder of the index; default: FILE.index next to a single file", metavar="FOLDER"),
    ] = None,
    json: Annotated[bool, Parameter(help="one line of JSON per query on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
    settings: SettingPairs = (),
) -> None:
    """Find the texts nearest in meaning to a query.

    Texts are ranked by the cosine of their vectors, pooled by the mean over tokens, or as the model's 1_Pooling says.
    They are embedded once and kept in an index, which is built again if files or model change. Without FILE an
    existing index is searched.

    Example: maskling search runs/mine books/ --query "A dog that would not leave."
    """
    if asked := [one for one in file if is_text(one)]:  # a text among the files is what to search for
        query = [*asked, *(query or ())]
        file = tuple(one for one in file if not is_text(one))
    for one in file:
        if "." not in one and not set(one) & set("/:*?[") and not Path(one).exists():
            raise SettingsError(f"{one}: there is no such file; to search for this text give --query '{one}'")
    if bool(query) == (queries is not None):
        raise SettingsError("give the text to search for, with --query TEXT or with --queries FILE")
    if top_k < 1:
        raise SettingsError(f"--top-k is {top_k}; it must be 1 or more")
    if index is None and len(file) != 1:
        raise SettingsError(
            "give the folder of the index, with --index FOLDER"
            if file
            else "give the files to search, or --index FOLDER"
        )
    check_sources(file)
    reading = file_reading(settings, text_field, "skip")
    searched = list(query) if query else list(read_texts((), queries))
    folder = index or Path(f"{file[0].rstrip('/')}.index")
    check_out_folder(folder)

    from maskling.corpus.opening import ReadReport
    from maskling.infer.index import Index, build_index
    from maskling.infer.model import load

    console = Console(as_json=json)
    loaded = load(model, device=device)
    if file:
        report = ReadReport()

        def on_progress(done: int, total: int | None) -> None:
            console.progress(f"embedding   {counted(done, 'text')}", done, total)

        indexed = build_index(loaded, file, folder, reading=reading, report=report, on_progress=on_progress)
        console.clear()
        console.warn_each(report.problems())
        if indexed.texts:
            console.note(f"the vectors are kept in {folder}")
        if indexed.cut:
            console.warn(f"{counted(indexed.cut, 'text')} longer than {loaded.max_length:,} tokens and cut")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = Index.open(folder).search(loaded, searched, top_k)
    for warning in caught:
        console.warn(f"of the queries, {warning.message}")
    for position, (one, hits) in enumerate(zip(searched, found, strict=True)):
        console.data({"query": one, "hits": [hit.as_dict() for hit in hits]})
        if position:
            console.result()
        console.result(one)
        for line in table([[f"{hit.score:.3f}", hit.id, shortened(hit.text)] for hit in hits]):
            console.result(line)
