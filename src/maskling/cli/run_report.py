"""What a person sees of a run: one aligned line for each report, and a bar in between on a terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from maskling.cli.layout import counted, duration, size
from maskling.console import Console
from maskling.train.events import Evaluated, Event, Finished, Saved, Started, Step, Warned


class RunReport:
    """Shows the events of a run."""

    def __init__(self, console: Console, log_every: int) -> None:
        self.stopped = False
        self._console = console
        self._log_every = log_every
        self._unigram_entropy = 0.0
        self._steps = 0

    def show(self, event: Event) -> None:
        """Print what an event has to say."""
        console = self._console
        match event:
            case Started():
                self._unigram_entropy, self._steps = event.unigram_entropy, event.steps
                for line in started_lines(event):
                    console.note(line)
            case Step():
                last = event.step == event.steps
                console.progress(step_line(event), event.step, event.steps, last=last, share=False)
            case Evaluated():
                console.note(evaluated_line(event, self._steps, self._unigram_entropy))
            case Saved():
                pass  # the path is in the last line; a line for each would drown the losses
            case Warned():
                console.warn(event.text)
            case Finished():
                console.clear()
                self.stopped = event.stopped
                for line in finished_lines(event):
                    console.note(line)
        if not isinstance(event, Step) or event.step % self._log_every == 0 or event.step == event.steps:
            console.data(as_json(event))


def started_lines(event: Started) -> list[str]:
    """The facts of a run before its first step."""
    resumed = "" if event.resumed_from is None else f", going on from step {event.resumed_from:,}"
    epochs = event.steps * event.examples_per_step / max(1, event.examples_per_epoch)
    return [
        f"model     {size(event.parameters)} parameters on {event.description}",
        f"data      {size(event.tokens)} tokens, {size(event.examples_per_epoch)} examples an epoch",
        f"unigram   {event.unigram_entropy:.2f}, the loss of knowing only how often each token occurs",
        f"run       {counted(event.steps, 'step')}, {epochs:.3g} epochs{resumed}",
    ]


def step_line(event: Step) -> str:
    """`step      2,000/20,000   loss 4.812   mlm 4.391  pair 0.421   lr 9.50e-05   12,400 tok/s   18m left`."""
    parts = "" if event.pair is None else f"   mlm {event.mlm:.3f}  pair {event.pair:.3f}"
    mfu = "" if event.mfu is None or event.mfu < 0.01 else f"   mfu {100 * event.mfu:.0f}%"
    speed = f"{event.tokens_per_second:,.0f} tok/s   fill {100 * event.fill:.1f}%{mfu}"
    return (
        f"{_place('step', event.step, event.steps)}   loss {event.loss:.3f}{parts}   lr {event.lr:.2e}"
        f"   {speed}   {duration(event.seconds_left)} left"
    )


def evaluated_line(event: Evaluated, steps: int, unigram_entropy: float) -> str:
    """The held-out numbers, beside what knowing only frequencies would give."""
    measured = event.measured
    pair = "" if measured.pair_accuracy is None else f"  pairs {100 * measured.pair_accuracy:.1f}%"
    best = "   best so far" if event.best else ""
    return (
        f"{_place('held-out', event.step, steps)}   loss {measured.mlm_loss:.3f}   unigram {unigram_entropy:.2f}"
        f"   top-1 {100 * measured.top1:.1f}%  top-5 {100 * measured.top5:.1f}%{pair}{best}"
    )


def _place(what: str, step: int, steps: int) -> str:
    """What a line is about and of which step, as wide in every line of a run."""
    return f"{what:<8}  {step:>{len(f'{steps:,}')},}/{steps:,}"


def finished_lines(event: Finished) -> list[str]:
    """How the run ended and what it left."""
    if event.stopped:
        where = f"step {event.step:,} of {event.steps:,}"
        return [f"stopped at {where} with a checkpoint; the same command goes on from there"]
    ended = "had already finished" if event.already else f"finished in {duration(event.seconds)}"
    best = "" if event.best_loss is None else f"; best held-out loss {event.best_loss:.3f} at step {event.best_step:,}"
    model = [] if event.model is None else [f"model written to {event.model}"]
    return [f"the run {ended}{best}", *model]


def as_json(event: Event) -> dict[str, Any]:
    """An event as a flat object with its name."""
    fields = {name: value if _plain(value) else str(value) for name, value in asdict(event).items()}
    return {"event": type(event).__name__.lower(), **fields}


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, int | float | str | bool | dict | list)
