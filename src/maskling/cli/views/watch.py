"""A run in the terminal while another process trains it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskling.cli.format import duration
from maskling.console import Console
from maskling.errors import CheckpointError
from maskling.report.follow import LogFollower
from maskling.report.overview import shown_metric
from maskling.report.report import write_report
from maskling.report.runs import Entry, number, read_run, read_run_settings
from maskling.train.run_status import RunStatus, read_status

_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 40
# Evaluations shown of a run that has been going on for a while.
_EARLIER = 5
# A run of an older version, which has no status.json, counts as over if its log is silent this long.
_SILENCE_SECONDS = 120.0
# Writing the page may take this share of the time at most: a long log takes a second to read.
_PAGE_SHARE = 0.1


class Watcher:
    """Shows the lines of a run as they come, and keeps its page fresh if `page` is given."""

    def __init__(self, folder: Path, console: Console, every: float, page: Path | None) -> None:
        self._folder, self._console, self._every, self._page = folder, console, every, page
        self._follower = LogFollower(folder / "metrics.jsonl")
        self._last: Entry = {}
        self._page_due, self._page_log = 0.0, -1.0

    def watch(self) -> str:
        """Show the run until it ends; return its last state."""
        console = self._console
        for name, value in read_run_settings(self._folder)[1]:
            console.result(f"{name:<8}  {value}")
        self._show_earlier(self._follower.read())
        while True:
            status = read_status(self._folder)
            state = _state(status, self._last)
            entries = self._follower.read()
            for entry in entries:
                self._show(entry)
            if self._last and not entries and state == "running":
                self._bar()
            self._write_page(live=state == "running")
            if state != "running":
                self._finish(state, status)
                return state
            if not self._last:
                console.doing("no step has been logged yet")
            time.sleep(self._every)

    def _show_earlier(self, entries: Sequence[Entry]) -> None:
        steps = [entry for entry in entries if entry.get("kind") == "step"]
        losses = [loss for entry in steps if (loss := number(entry, "loss")) is not None]
        if len(losses) > 1:
            self._console.result(f"{'loss':<8}  {losses[0]:.3f} {sparkline(losses)} {losses[-1]:.3f}")
        evaluations = [entry for entry in entries if entry.get("kind") == "evaluation"]
        self._last = steps[-1] if steps else {}
        for entry in evaluations[-_EARLIER:]:
            self._show(entry)

    def _show(self, entry: Entry) -> None:
        match entry.get("kind"):
            case "step":
                self._last = entry
                self._bar()
                self._console.data(entry)
            case "evaluation":
                self._console.result(evaluation_line(entry, self._last))
                self._console.data(entry)

    def _bar(self) -> None:
        step, steps = number(self._last, "step") or 0.0, number(self._last, "steps") or 0.0
        self._console.progress(step_line(self._last), step, steps or None, last=step >= steps, share=False)

    def _write_page(self, live: bool) -> None:
        """Write the page anew if the log has grown; without a reload when the run is over."""
        now = time.monotonic()
        if self._page is None or not self._last or (live and now < self._page_due):
            return
        try:
            run = read_run(self._folder)
        except CheckpointError:
            return
        if live and run.modified == self._page_log:
            return
        self._page_log = run.modified
        write_report([run], self._page, reload_seconds=max(self._every, 2.0) if live else None)
        self._page_due = now + max(self._every, (time.monotonic() - now) / _PAGE_SHARE)

    def _finish(self, state: str, status: RunStatus) -> None:
        step, steps = number(self._last, "step") or 0, number(self._last, "steps") or 0
        self._console.clear()
        took = "" if status.seconds is None else f" after {duration(status.seconds)}"
        where = f"step {step:,.0f} of {steps:,.0f}"
        lines = {
            "finished": f"the run finished{took}",
            "stopped": f"the run stopped at {where}{took}; the command that started it resumes it",
            "failed": f"the run failed at {where}: {status.problem}",
            "died": f"the run died at {where}: its process ended without a word (killed, or out of memory); the "
            f"command that started it resumes it from its last checkpoint",
        }
        self._console.result(lines[state])
        self._console.data({"event": state, "step": step, "steps": steps, "problem": status.problem})


def _state(status: RunStatus, last: Entry) -> str:
    """Return the state of a run; of one of an older version, what its log shows."""
    if status.state != "unknown":
        return status.state
    if last and (number(last, "step") or 0.0) >= (number(last, "steps") or 1.0):
        return "finished"
    return "running" if status.silent < _SILENCE_SECONDS else "stopped"


def step_line(entry: Entry) -> str:
    """`step      2,000/20,000   loss 4.812   lr 9.50e-05   12,400 tok/s   18m left`."""
    step, steps = number(entry, "step") or 0, number(entry, "steps") or 0
    parts = [_position("step", step, steps), f"loss {_shown(entry, 'loss', '.3f')}"]
    parts += [f"lr {_shown(entry, 'lr', '.2e')}", f"{_shown(entry, 'tokens_per_second', ',.0f')} tok/s"]
    left = number(entry, "seconds_left")
    return "   ".join([*parts, *([f"{duration(left)} left"] if left is not None else [])])


def evaluation_line(entry: Entry, last: Entry) -> str:
    """Return the line of an evaluation. last: the last step, which has the number of steps."""
    names = [*("mlm_loss", "loss", "unigram_entropy", "top1", "pair_accuracy"), *("accuracy", "f1", "micro_f1", "mcc")]
    names += ["pearson", "spearman"]
    shown = [f"{name.replace('_', ' ')} {shown_metric(name, number(entry, name))}" for name in names if name in entry]
    values = [text for text in shown if not text.endswith(" ")]
    best = "   best so far" if entry.get("best") else ""
    position = _position("held-out", number(entry, "step") or 0, number(last, "steps") or 0)
    return f"{position}   {'   '.join(values)}{best}"


def sparkline(values: Sequence[float], width: int = _SPARKS) -> str:
    """Draw values as a line of blocks: means over neighbours, from the lowest to the highest."""
    groups = min(width, len(values))
    edges = [round(index * len(values) / groups) for index in range(groups + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, spread = min(means), max(means) - min(means)
    return "".join(_BARS[round((len(_BARS) - 1) * (mean - low) / spread) if spread else 0] for mean in means)


def _position(what: str, step: float, steps: float) -> str:
    total = f"{steps:,.0f}"
    return f"{what:<8}  {step:>{len(total)},.0f}/{total}" if steps else f"{what:<8}  {step:,.0f}"


def _shown(entry: Entry, name: str, form: str) -> Any:
    value = number(entry, name)
    return "none" if value is None else format(value, form)
