"""Show the events of a run: one aligned line per report, and a progress bar on a terminal."""

from __future__ import annotations

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from types import FrameType
from typing import Any

from maskling.cli.format import byte_size, duration, score_lines, size, table
from maskling.console import Console, counted
from maskling.train.events import (
    CrossValidated,
    Evaluated,
    Evaluating,
    Event,
    FinalMetrics,
    Finished,
    Measuring,
    Metrics,
    Replanned,
    Saved,
    Started,
    Step,
    Warned,
)
from maskling.train.settings import seconds

# Seconds: a shorter budget gives no useful model; a longer run without a budget is announced, after so many steps.
_SHORT_BUDGET = 60
_LONG_RUN = 30 * 60
_HINT_STEP = 20
# Scripts read these names; they stay when a class is renamed.
_JSON_NAMES: dict[type[Event], str] = {FinalMetrics: "judged"}


class RunReport:
    """Shows the events of a run. format_metrics: formats the metrics of an evaluation."""

    def __init__(self, console: Console, log_every: int, format_metrics: Callable[[Metrics], str]) -> None:
        self.stopped = False
        self._console = console
        self._log_every = log_every
        self._numbers = format_metrics
        self._steps = 0
        self._hints = False
        self._majority: dict[str, float] = {}

    def announce_stop(self) -> None:
        """Announce that the run will stop after the current step or evaluation."""
        self._console.clear()
        self._console.note(
            "stopping with a checkpoint after the current step or evaluation; press again to stop at once"
        )

    def show(self, event: Event) -> None:
        """Print an event."""
        console = self._console
        match event:
            case Measuring():
                console.note(f"measuring how many steps fit into {event.budget}, for {duration(event.seconds)}")
                if seconds(event.budget) < _SHORT_BUDGET:
                    console.warn(
                        f"{event.budget} is enough to see that everything works, but not for a useful model; give "
                        f"minutes or hours, such as 30m"
                    )
            case Started():
                self._steps = event.steps
                self._majority = dict(event.baseline.scores) if event.baseline else {}
                self._hints = event.budget is None and event.resumed_from is None
                for line in started_lines(event):
                    console.note(line)
            case Replanned():
                self._steps = event.steps
                console.note(replanned_line(event))
            case Step():
                last = event.step == event.steps
                console.progress(step_line(event), event.step, event.steps, last=last, share=False)
                if self._hints and event.step >= min(_HINT_STEP, event.steps // 2):
                    self._hints = False
                    if event.seconds_left > _LONG_RUN:
                        console.note(
                            f"these {counted(event.steps, 'step')} take about {duration(event.seconds_left)}; to set "
                            f"the time instead, press Ctrl-C and give --budget, such as --budget 30m, and another --out"
                        )
            case Evaluating():
                console.doing(evaluating_line(event, self._steps))
            case Evaluated():
                console.clear()
                console.note(evaluated_line(event, self._steps, self._numbers, self._majority), good="best so far")
            case Saved():
                # The path is in the last line; a line per checkpoint would hide the losses.
                console.detail(f"step {event.step:,} written to {event.path} in {event.write_seconds:.1f} s")
            case Warned():
                console.warn(event.text)
            case FinalMetrics():
                console.clear()
                for line in final_metrics_lines(event):
                    console.note(line)
            case CrossValidated():
                console.clear()
                for line in cross_validated_lines(event):
                    console.note(line)
            case Finished():
                console.clear()
                self.stopped = event.stopped
                for line in finished_lines(event):
                    console.note(line)
        if not isinstance(event, Step) or event.step % self._log_every == 0 or event.step == event.steps:
            console.data(as_json(event))


def started_lines(event: Started) -> list[str]:
    """Return the lines about a run before its first step."""
    resumed = "" if event.resumed_from is None else f"; resuming from step {event.resumed_from:,}"
    epochs = event.steps * event.examples_per_step / max(1, event.examples_per_epoch)
    known = event.baseline
    trained = "" if event.trained is None else f", {size(event.trained)} of them trained,"
    source = f", from {event.source}" if event.source else ""
    return [
        f"model     {size(event.parameters)} parameters{trained} on {event.description}",
        f"data      {size(event.tokens)} tokens, {size(event.examples_per_epoch)} examples per epoch{source}",
        *([f"{known.name:<8}  {known.loss:.2f}, loss of guessing by {known.knows}"] if known else []),
        *(
            [f"majority  {_scores(known.scores)} if '{known.label}' is always predicted"]
            if known and known.scores
            else []
        ),
        *([f"memory    {byte_size(event.memory)} expected"] if event.memory else []),
        f"run       {counted(event.steps, 'step')}, {epochs:.3g} epochs{resumed}",
    ]


def _scores(scores: Mapping[str, float]) -> str:
    return "   ".join(f"{name} {value:.4f}" for name, value in scores.items())


def replanned_line(event: Replanned) -> str:
    """Return the line about a corrected number of steps."""
    found = "less time" if event.steps > event.before else "longer"
    steps = counted(event.steps, "step")
    return f"steps take {found} than planned: {steps} fit into {event.budget}, not {event.before:,}"


def step_line(event: Step) -> str:
    """`step      2,000/20,000   loss 4.812   mlm 4.391  pair 0.421   lr 9.50e-05   12,400 tok/s   18m left`."""
    loss = "none" if event.loss is None else f"{event.loss:.3f}"
    terms = [f"{name} {value:.3f}" for name, value in event.terms.items() if value is not None]
    parts = f"   {'  '.join(terms)}" if len(terms) > 1 else ""
    mfu = "" if event.mfu is None or event.mfu < 0.01 else f"   mfu {100 * event.mfu:.0f}%"
    speed = f"{event.tokens_per_second:,.0f} tok/s   fill {100 * event.fill:.1f}%{mfu}"
    return (
        f"{_position('step', event.step, event.steps)}   loss {loss}{parts}   lr {event.lr:.2e}"
        f"   {speed}   {duration(event.seconds_left)} left"
    )


def evaluating_line(event: Evaluating, steps: int) -> str:
    """Return the line shown during an evaluation."""
    return f"{_position('held-out', event.step, steps)}   measuring{f' on {event.source}' if event.source else ''}"


def evaluated_line(
    event: Evaluated, steps: int, numbers: Callable[[Metrics], str], majority: Mapping[str, float] | None = None
) -> str:
    """Return the line of held-out metrics after a step. majority: metrics of always predicting the same label."""
    shown = numbers(event.measured)
    for name, value in list((majority or {}).items())[:1]:
        shown = re.sub(rf"(?<!\w)({name} [\d.]+)", rf"\1 (majority {value:.4f})", shown, count=1)
    best = "   best so far" if event.best else ""
    return f"{_position('held-out', event.step, steps)}   {shown}{best}"


def _position(what: str, step: int, steps: int) -> str:
    """Return label and step, equally wide in every line of a run."""
    return f"{what:<8}  {step:>{len(f'{steps:,}')},}/{steps:,}"


def final_metrics_lines(event: FinalMetrics) -> list[str]:
    """Return the metrics of the final weights, one per line."""
    numbers = [[name, f"{value:.4f}"] for name, value in event.measured.items() if value is not None]
    head = f"{event.role}: {event.source}, {counted(event.records, 'record')}, step {event.step:,}"
    return [head, *table(numbers), *score_lines(event.details)]


def cross_validated_lines(event: CrossValidated) -> list[str]:
    """Return the mean and standard deviation of each metric over the folds, and the metric of each fold."""
    rows = [["", "mean", "deviation", *(f"fold {number}" for number in range(1, len(event.folds) + 1))]]
    for name, mean in event.mean.items():
        numbers = [mean, event.deviation[name], *(fold.get(name) for fold in event.folds)]
        if mean is not None:
            rows.append([name, *("" if value is None else f"{value:.4f}" for value in numbers)])
    head = f"{len(event.folds)} folds of {event.source}, {counted(event.records, 'record')}"
    return [head, *table(rows, heads=True)]


def finished_lines(event: Finished) -> list[str]:
    """Return how the run ended, its best evaluation and its model folder."""
    if event.stopped and not event.step:
        return ["stopped before the first step; the same command starts again"]
    if event.stopped:
        where = f"step {event.step:,} of {event.steps:,}"
        return [f"stopped at {where} with a checkpoint; the same command resumes from there"]
    ended = "had already finished" if event.already else f"finished in {duration(event.seconds)}"
    value = "" if event.best_value is None else f"{event.best_name} {event.best_value:.3f} at step {event.best_step:,}"
    best = f"; best held-out {value}" if value else ""
    best += "" if event.before is None else f", {event.before:.3f} before the first step"
    best += "" if event.memory is None else f"; peak memory {byte_size(event.memory)}"
    model = [] if event.model is None else [f"model written to {event.model}"]
    empty = [f"{counted(event.empty, 'step')} had nothing to predict and changed no weight"] if event.empty else []
    return [f"the run {ended}{best}", *empty, *model]


def as_json(event: Event) -> dict[str, Any]:
    """Return an event as a flat object with its name."""
    found = event.flat() if isinstance(event, Step) else asdict(event)
    fields = {name: value if _plain(value) else str(value) for name, value in found.items()}
    return {"event": _JSON_NAMES.get(type(event), type(event).__name__.lower()), **fields}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | bool | dict | list)


@contextlib.contextmanager
def stop_requested(on_signal: Callable[[], object] | None = None) -> Iterator[Callable[[], bool]]:
    """Only note the first Ctrl-C, SIGTERM or hang-up in the block; a second one raises KeyboardInterrupt.

    Yields a function that returns whether one has arrived. on_signal: called at the first, between any two bytecodes.
    An ignored signal, such as a hang-up under nohup, stays ignored. Outside the main thread Python sets no handlers,
    and the function always returns False.
    """
    requested = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        if on_signal is not None:
            with contextlib.suppress(RuntimeError):  # it arrived while a line was being printed
                on_signal()

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    names = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    before = {name: signal.signal(name, handle) for name in names if signal.getsignal(name) is not signal.SIG_IGN}
    try:
        yield requested.is_set
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)
