"""What a reader asks first about a run: size, data, time, memory, state, versions, and the command to repeat it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from maskling.report.runs import Entry, LoadedRun, number

Row = tuple[str, list[str]]
_STATES = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped; the same command resumes it",
    "failed": "failed",
    "died": "died: its process ended without a word; the same command resumes it",
    "unknown": "unknown",
}
# Metrics that are fractions of predictions or records, shown in percent. A correlation such as mcc is not.
_FRACTIONS = ("accuracy", "f1", "precision", "recall", "exact", "top1", "top5", "top10")


def is_fraction(name: str) -> bool:
    """Return whether a metric is a fraction, shown in percent everywhere."""
    return any(name == part or name.endswith(f"_{part}") for part in _FRACTIONS)


def shown_metric(name: str, value: float | None) -> str:
    """Return a metric as every table and chart shows it."""
    if value is None:
        return ""
    if is_fraction(name):
        return f"{100 * value:.1f} %"
    return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def overview(runs: Sequence[LoadedRun]) -> list[Row]:
    """Return the rows of the overview, a value per run; rows that no run can fill are left out."""
    rows = [
        ("status", [_status(run) for run in runs]),
        ("steps", [_steps(run) for run in runs]),
        ("parameters", [_count(run.status.facts, "parameters") for run in runs]),
        ("tokens seen", [_tokens(run) for run in runs]),
        ("documents", [_count(run.status.facts, "documents") for run in runs]),
        ("vocabulary", [_vocabulary(run) for run in runs]),
        ("started", [_started(run) for run in runs]),
        ("time", [_duration(run) for run in runs]),
        ("peak memory", [_memory(run) for run in runs]),
        ("speed", [_speed(run) for run in runs]),
        ("ran on", [str(run.machine.get("compute", "")) for run in runs]),
        ("processor", [str(run.machine.get("processor", "")) for run in runs]),
        ("versions", [_versions(run) for run in runs]),
        ("command", [_command(run) for run in runs]),
    ]
    return [(name, values) for name, values in rows if any(values)]


def tokens_per_step(run: LoadedRun) -> float | None:
    """Return the mean tokens per step, padding not counted; None for a run without rows of a fixed length."""
    batch, length = run.settings.get("train.batch_size"), run.settings.get("data.seq_length")
    fills = [fill for entry in run.steps if (fill := number(entry, "fill")) is not None]
    if not isinstance(batch, int) or not isinstance(length, int) or not fills:
        return None
    return batch * length * sum(fills) / len(fills)


def times_of(run: LoadedRun) -> tuple[list[float], list[float]]:
    """Return steps and the hours of training until each; the time between two sessions does not count."""
    began = [value for session in run.status.sessions if (value := number(session, "began")) is not None]
    steps: dict[float, float] = {}
    spent, before = 0.0, min(began, default=math.nan)
    for entry in run.steps:
        step, when = number(entry, "step"), number(entry, "time")
        if step is None or when is None:
            continue
        before = max([before, *[moment for moment in began if moment <= when]]) if before == before else when
        spent += max(0.0, when - before)
        steps[step], before = spent / 3600, when
    return list(steps), list(steps.values())


def _status(run: LoadedRun) -> str:
    problem = f": {run.status.problem}" if run.status.problem else ""
    return _STATES[run.state] + problem


def _steps(run: LoadedRun) -> str:
    last = run.steps[-1]
    total = number(last, "steps") or run.settings.get("train.steps") or 0
    return f"{number(last, 'step') or 0:,.0f} of {total:,.0f}"


def _count(facts: Entry, name: str) -> str:
    value = number(facts, name)
    return "" if value is None else f"{value:,.0f}"


def _tokens(run: LoadedRun) -> str:
    facts, steps = run.status.facts, number(run.steps[-1], "step") or 0.0
    per_step, per_epoch, each = (
        tokens_per_step(run),
        number(facts, "examples_per_epoch"),
        number(facts, "examples_per_step"),
    )
    seen = f"{steps * per_step:,.0f}" if per_step else ""
    epochs = f"{steps * each / per_epoch:.3g} epochs" if per_epoch and each else ""
    total = number(facts, "tokens")
    return ", ".join(filter(None, [seen, epochs, f"of {total:,.0f} tokens of text" if total and epochs else ""]))


def _vocabulary(run: LoadedRun) -> str:
    size = number(run.status.facts, "vocabulary") or run.settings.get("model.vocab_size")
    return f"{size:,.0f} tokens" if isinstance(size, int | float) and size else ""


def _started(run: LoadedRun) -> str:
    began = next((value for each in run.status.sessions if (value := number(each, "began")) is not None), None)
    if began is None:
        return ""
    starts = len(run.status.sessions)
    again = f", resumed {starts - 1} times" if starts > 2 else ", resumed once" if starts == 2 else ""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(began)) + again


def _duration(run: LoadedRun) -> str:
    seconds = run.status.seconds
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    left = number(run.steps[-1], "seconds_left")
    more = f", about {left / 60:,.0f} min left" if run.state == "running" and left is not None else ""
    return (f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s") + more


def _memory(run: LoadedRun) -> str:
    most = max((number(session, "memory") or 0.0 for session in run.status.sessions), default=0.0)
    return f"{most / 1e9:.2f} GB" if most else ""


def _speed(run: LoadedRun) -> str:
    speeds = sorted(filter(None, (number(entry, "tokens_per_second") for entry in run.steps)))
    return f"{speeds[len(speeds) // 2]:,.0f} tokens per second" if speeds else ""


def _versions(run: LoadedRun) -> str:
    parts = [f"{name} {run.machine[name]}" for name in ("maskling", "torch", "python") if run.machine.get(name)]
    commit = run.status.sessions[-1].get("commit") if run.status.sessions else None
    return ", ".join([*parts, *([f"commit {commit}"] if commit else [])])


def _command(run: LoadedRun) -> str:
    recorded = next((each["command"] for each in run.status.sessions if isinstance(each.get("command"), str)), None)
    if recorded is not None:
        return str(recorded)
    if run.settings.get("train.budget") is not None:
        return ""
    verb = "finetune" if "task.kind" in run.settings else "train"
    return f"maskling {verb} --config {run.name}/config.toml --out NEW"
