"""Progress of `prepare`, `pretrain` and `finetune` in a notebook, with curves; elsewhere the lines of the commands."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from maskling.cli.finetune import metrics_line
from maskling.cli.prepare import PrepareReport
from maskling.cli.run_report import RunReport, stop_requested
from maskling.cli.train import format_held_out
from maskling.console import Console
from maskling.drawing import line_chart, progress_bar, report_lines, side_by_side
from maskling.errors import SettingsError
from maskling.job import Job
from maskling.report.runs import number, read_metrics
from maskling.train.events import Evaluated, Event, Finished, Metrics, Started, Step

R = TypeVar("R")

_REDRAW_SECONDS = 0.5
# A long run evaluates hundreds of times; of its lines the first and the last are shown.
_FIRST_LINES, _LAST_LINES = 12, 24
_LOSSES = ("mlm_loss", "loss")


def show(job: Job[Any, R]) -> R:
    """Run a job to its end and return its result; show progress, and curves in a notebook.

    Outside a notebook, print what the command of the same purpose prints. The first interrupt (the stop button, Ctrl-C)
    ends a run with a checkpoint after its current step, the second at once; the same call resumes it.

    Raises what the job raises, KeyboardInterrupt if it was interrupted, SettingsError for anything else than a job.

    Example: finished = maskling.show(maskling.pretrain("data/", "runs/mine", preset="small", budget="10m"))
    """
    if not isinstance(job, Job):
        raise SettingsError(
            f"show takes what prepare, pretrain or finetune returns, not {type(job).__name__}; for example: "
            f"maskling.show(maskling.pretrain('data/', 'runs/mine'))"
        )
    page = Page() if in_notebook() else None
    console = page or Console()
    run, preparation = RunReport(console, 1, _metrics_line), PrepareReport(console, 0)

    def shown() -> Iterator[Any]:
        for event in job:
            if page is not None:
                page.curves.add(event)
            if isinstance(event, Event):
                run.show(event)
            else:
                preparation.show(event)
            yield event

    try:
        with _interrupts(job, run):
            result: R = Job(job.name, shown()).result()
        return result
    finally:
        if page is not None:
            page.draw()


@contextlib.contextmanager
def _interrupts(job: Job[Any, Any], run: RunReport) -> Iterator[None]:
    """Turn the first interrupt into a request to stop, and raise KeyboardInterrupt when the job has ended."""
    request_stop = job.request_stop
    if request_stop is None:
        yield
        return
    with stop_requested(request_stop) as requested:
        yield
    if requested() and run.stopped:
        # As an error, so that a notebook does not go on with the next cell.
        raise KeyboardInterrupt("the run stopped with a checkpoint; the same call resumes it")


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook, without importing IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    return getattr(shell, "kernel", None) is not None


def _metrics_line(measured: Metrics) -> str:
    return format_held_out(measured) if "unigram_entropy" in measured else metrics_line(measured)


class Curves:
    """The losses and metrics of a run so far."""

    def __init__(self) -> None:
        self._training: list[tuple[float, float]] = []
        self._measured: dict[str, list[tuple[float, float]]] = {}
        self._levels: dict[str, float] = {}

    def add(self, event: object) -> None:
        """Take the numbers of an event."""
        match event:
            case Started():
                self._levels = {event.baseline.name: event.baseline.loss} if event.baseline else {}
            case Step():
                if event.loss is not None:
                    self._training.append((event.step, event.loss))
            case Evaluated():
                for name, value in event.measured.items():
                    if value is not None:
                        self._measured.setdefault(name, []).append((event.step, value))
            case Finished(already=True, model=Path() as model):
                self._read(model.parent / "metrics.jsonl")

    def _read(self, journal: Path) -> None:
        """Take the numbers of a run that had finished before."""
        for entry in read_metrics(journal)[0]:
            values = {name: value for name in entry if (value := number(entry, name)) is not None}
            step = values.pop("step", None)
            if step is not None and entry.get("kind") == "step" and "loss" in values:
                self._training.append((step, values["loss"]))
            elif step is not None and entry.get("kind") == "evaluation":
                values.pop("time", None)
                for name, value in values.items():
                    self._measured.setdefault(name, []).append((step, value))

    def draw(self) -> str:
        """Draw the losses, and beside them the first metric that is not a loss."""
        loss = next((name for name in _LOSSES if name in self._measured), None)
        held_out = {"held-out": self._measured[loss]} if loss else {}
        charts = [line_chart("loss", {"training": self._training} | held_out, self._levels)]
        other = next((name for name in self._measured if name not in _LOSSES and name not in _NOT_DRAWN), None)
        if other is not None:
            charts.append(line_chart(f"held-out {other.replace('_', ' ')}", {other: self._measured[other]}))
        return side_by_side(*filter(None, charts))


# Of pretraining: constants of the text, and losses of single objectives.
_NOT_DRAWN = ("unigram_entropy", "masked", "pair_loss", "perplexity")


class Page(Console):
    """A console whose lines, progress bar and curves are one output of a notebook, redrawn in place."""

    def __init__(self) -> None:
        super().__init__()
        self.curves = Curves()
        self._lines: list[str] = []
        self._progress: tuple[float | None, str] | None = None
        self._drawn = float("-inf")
        self._shown: Any = None

    def result(self, text: str = "") -> None:
        """Add a line."""
        self._add(text)

    def note(self, text: str, good: str = "") -> None:  # noqa: ARG002 - the console's
        """Add a line."""
        self._add(text)

    def warn(self, text: str) -> None:
        """Add a warning."""
        self._add(f"warning: {text}")

    def progress(self, text: str, done: float, total: float | None, last: bool = False, share: bool = True) -> None:  # noqa: ARG002
        """Set the progress bar."""
        self._progress = (done / total if total else None, text)
        self._draw_if_due()

    def doing(self, text: str) -> None:
        """Show work of unknown length."""
        self._progress = (self._progress[0] if self._progress else None, text)
        self.draw()

    def clear(self) -> None:
        """Remove the progress bar."""
        self._progress = None

    def draw(self) -> None:
        """Show the page, in the place where it was shown first."""
        display: Any = import_module("IPython.display").display
        self._drawn = time.monotonic()
        lines = self._lines
        if len(lines) > _FIRST_LINES + _LAST_LINES:
            lines = [*lines[:_FIRST_LINES], "...", *lines[-_LAST_LINES:]]
        bar = [] if self._progress is None else [progress_bar(*self._progress)]
        plain = "\n".join([*lines, *([self._progress[1]] if self._progress else [])])
        page = report_lines(lines) + "".join(bar) + self.curves.draw()
        shown = {"text/html": page, "text/plain": plain}
        if self._shown is None:
            self._shown = display(shown, raw=True, display_id=True)
        else:
            self._shown.update(shown, raw=True)

    def _add(self, text: str) -> None:
        self._lines.append(text)
        self._draw_if_due()

    def _draw_if_due(self) -> None:
        if time.monotonic() - self._drawn >= _REDRAW_SECONDS:
            self.draw()
