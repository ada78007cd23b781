"""`maskling search`: the texts of a file that are nearest in meaning to a query."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.format import shortened, table
from maskling.cli.inputs import Texts, check_out_folder, check_sources
from maskling.console import Console, counted
from maskling.errors import SettingsError


def search(
    model: Annotated[Path, Parameter(help="a run, an export, or a Hugging Face folder")],
    /,
    *file: Annotated[str, Parameter(help="texts to search, a line each, or as 'prepare' reads other formats")],
    query: Annotated[
        list[str] | None, Parameter(help="what to look for; may be given several times", metavar="TEXT")
    ] = None,
    queries: Annotated[
        Path | None, Parameter(help="look for each line of this file; - is standard input", metavar="FILE")
    ] = None,
    top_k: Annotated[int, Parameter(help="how many texts for each query")] = 5,
    index: Annotated[
        Path | None,
        Parameter(help="where the vectors are kept; FILE.index beside a single file if left out", metavar="FOLDER"),
    ] = None,
    json: Annotated[bool, Parameter(help="one line of JSON for each query on stdout")] = False,
    device: Annotated[str, Parameter(help="auto, cpu, cuda or mps")] = "auto",
) -> None:
    """Find the texts nearest in meaning to a query.

    By the cosine of their vectors: the mean over tokens, or what the folder's 1_Pooling says. The texts are embedded
    once and kept in an index, which is made anew when files or model change. Without FILE an index is searched as it
    is.

    Example: maskling search runs/mine books/ --query "A dog that would not leave."
    """
    if bool(query) == (queries is not None):
        raise SettingsError("say what to look for, with --query TEXT or with --queries FILE")
    if top_k < 1:
        raise SettingsError(f"--top-k is {top_k}; ask for 1 text or more")
    if index is None and len(file) != 1:
        raise SettingsError("say where the vectors are kept, with --index FOLDER" if file else "say what to search")
    check_sources(file)
    asked = list(query) if query else Texts.of((), queries).lines
    folder = index or Path(f"{file[0].rstrip('/')}.index")
    check_out_folder(folder)

    from maskling.corpus.opening import ReadReport
    from maskling.infer.index import Index, build_index
    from maskling.infer.model import load

    console = Console(as_json=json)
    loaded = load(model, device=device)
    if file:
        done = cut = 0
        report = ReadReport()

        def told(so_far: int) -> None:
            console.progress(f"embedding   {counted(so_far, 'text')}", so_far, None)

        for step in build_index(loaded, file, folder, report=report, told=told):
            done, cut = step.texts, cut + step.cut
        console.clear()
        console.warn_of(report.problems())
        if done:
            console.note(f"the vectors are kept in {folder}")
        if cut:
            console.warn(f"{counted(cut, 'text')} longer than {loaded.max_length:,} tokens and cut")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = Index.open(folder).search(loaded, asked, top_k)
    for warning in said:
        console.warn(f"of the queries, {warning.message}")
    for number, (one, hits) in enumerate(zip(asked, found, strict=True)):
        console.data({"query": one, "hits": [hit.as_dict() for hit in hits]})
        if number:
            console.result()
        console.result(one)
        for line in table([[f"{hit.score:.3f}", hit.id, shortened(hit.text)] for hit in hits]):
            console.result(line)
