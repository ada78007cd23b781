"""`maskling report`: charts of training runs, as one HTML file. `maskling watch`: a run while it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from maskling.cli import EXIT_DONE, EXIT_USER_ERROR
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
    state so far; 'maskling watch --html' keeps it up to date.

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


def watch(
    run: Annotated[Path | None, Parameter(help="run folder of train or finetune")] = None,
    /,
    *,
    html: Annotated[
        bool, Parameter(help="also keep the page of charts fresh, RUN/report.html; it reloads itself", negative=())
    ] = False,
    out: Annotated[Path | None, Parameter(help="file of that page (default: RUN/report.html)", metavar="FILE")] = None,
    every: Annotated[float, Parameter(help="seconds between two looks", metavar="SECONDS")] = 2.0,
    json: Annotated[bool, Parameter(help="print the new lines of the log as JSON on stdout")] = False,
) -> int:
    """Watch a run while another process trains it.

    Shows step, loss, held-out metrics, speed and time left as they are logged, until the run finishes, stops, fails or
    dies. With --html the page of 'maskling report' is written anew as the log grows; open it in a browser once.
    Ctrl-C ends the watching, not the run.

    Example: maskling watch runs/mine --html
    """
    if run is None:
        raise SettingsError("give a run folder, for example: maskling watch runs/mine")
    if not 0.1 <= every <= 3600:
        raise SettingsError(f"--every: {every:g} should be between 0.1 and 3600 seconds")
    if out is not None and not html:
        raise SettingsError("--out is the file of --html; give --html too")
    if not (run / "config.toml").is_file():
        raise SettingsError(f"{run} is not a run: it has no config.toml; give a folder that train or finetune writes")

    from maskling.cli.views.watch import Watcher

    page = (out if out is not None else run / "report.html") if html else None
    if page is not None:
        check_out_file(page)
    console = Console(as_json=json)
    if page is not None:
        console.note(f"the page is {page}")
    state = Watcher(run, console, every, page).watch()
    return EXIT_USER_ERROR if state in ("failed", "died") else EXIT_DONE
