"""`maskling report`: charts of training runs, as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_out_file
from maskling.console import Console, counted
from maskling.errors import SettingsError


def report(
    *runs: Annotated[Path, Parameter(help="run folders of train or finetune; several are compared")],
    out: Annotated[
        Path | None, Parameter(help="file to write (default: report.html in the folder of a single run)")
    ] = None,
) -> None:
    """Write a page of charts for one run or several.

    Charts of losses, held-out metrics, learning rate, gradient norm and speed; for several runs also the settings in
    which they differ. One HTML file that needs no network and can be shared. For a run still in progress it shows the
    state so far; run the command again to update it.

    Example: maskling report runs/mine
    """
    if not runs:
        raise SettingsError("give a run folder, for example: maskling report runs/mine")
    if out is None and len(runs) > 1:
        raise SettingsError(f"give a file for the page of {counted(len(runs), 'run')} with --out FILE")

    from maskling.report.report import write_report
    from maskling.report.runs import read_run

    console = Console()
    loaded = [read_run(run) for run in runs]
    path = out if out is not None else runs[0] / "report.html"
    check_out_file(path, suffixes=(".html", ".htm"))
    write_report(loaded, path)
    for run in loaded:
        if run.unreadable:
            console.warn(f"{run.name}: {counted(run.unreadable, 'line')} of metrics.jsonl could not be read")
    console.result(f"{path} written")
