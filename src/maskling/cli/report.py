"""`maskling report`: runs as a page of charts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli.inputs import check_out_file
from maskling.console import Console, counted
from maskling.errors import SettingsError


def report(
    *runs: Annotated[Path, Parameter(help="folders of runs, of train or finetune; several are put side by side")],
    out: Annotated[
        Path | None, Parameter(help="where the page goes; report.html in the folder of a single run if left out")
    ] = None,
) -> None:
    """Write a page of charts of a run, or of several.

    Losses, what was measured on held-out text, learning rate, gradients, speed; of several runs the settings in which
    they differ. One file, which needs no network and can be sent on. Of a run that is still going on, the page shows
    how far it is; write it again for more.

    Example: maskling report runs/mine
    """
    if not runs:
        raise SettingsError("say which run to show, for example: maskling report runs/mine")
    if out is None and len(runs) > 1:
        raise SettingsError(f"say where the page of {counted(len(runs), 'run')} goes, with --out FILE")

    from maskling.report.report import write_report
    from maskling.report.runs import read_run

    console = Console()
    read = [read_run(run) for run in runs]
    place = out if out is not None else runs[0] / "report.html"
    check_out_file(place)
    write_report(read, place)
    for run in read:
        if run.unreadable:
            console.warn(f"{run.name}: {counted(run.unreadable, 'line')} of metrics.jsonl could not be read")
    console.result(f"{place} written")
