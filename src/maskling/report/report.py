"""The page: one file that needs nothing else, and asks nobody."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from maskling.files import atomic_write
from maskling.report.runs import Entry, Run, number
from maskling.version import __version__

# FOLDED DOCS
# [charts] Which curves a page shows: one chart for each thing that was measured, every run in it.


def write_report(runs: Sequence[Run], out: Path) -> None:
    """Write the page of some runs to `out`."""
    with atomic_write(out) as file:
        file.write(page_of(runs).encode("utf-8", "replace"))


def page_of(runs: Sequence[Run]) -> str:
    """The page of some runs, as HTML."""
    environment = Environment(
        loader=PackageLoader("maskling.report", "page"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["jinja", "html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = [as_data(chart) for chart in charts_of(runs)]
    return environment.get_template("report.html.jinja").render(
        runs=runs,
        names=[run.name for run in runs],
        numbers=_numbers(runs),
        differing=_differing(runs),
        data=_for_script(charts),
        version=__version__,
        read=lambda name: files("maskling.report").joinpath("page", name).read_text(encoding="utf-8"),
        shown=_shown,
    )


def _numbers(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Rows of a table: what each run came to, in a column for each."""
    rows: list[tuple[str, list[str]]] = []

    def row(name: str, values: Sequence[str]) -> None:
        if any(values):
            rows.append((name, list(values)))

    taken = [number(run.steps[-1], "step") or 0 for run in runs]
    row("steps", [f"{n:,.0f} of {run.settings['train.steps']:,}" for n, run in zip(taken, runs, strict=True)])
    row("best at step", [f"{number(run.best, 'step') or 0:,.0f}" if run.best else "" for run in runs])
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(name for name, value in (run.best or {}).items() if isinstance(value, float))
    for name in names:
        row(name.replace("_", " "), [_metric_cell(run.best or {}, name) for run in runs])
    speeds = [sorted(filter(None, (number(entry, "tokens_per_second") for entry in run.steps))) for run in runs]
    row("tokens a second", [f"{some[len(some) // 2]:,.0f}" if some else "" for some in speeds])
    row("ran on", [str(run.machine.get("compute", "")) for run in runs])
    row("processor", [str(run.machine.get("processor", "")) for run in runs])
    row("torch", [str(run.machine.get("torch", "")) for run in runs])
    return rows


def _metric_cell(entry: Entry, name: str) -> str:
    value = number(entry, name)
    return "" if value is None else f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def _differing(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """The settings in which runs differ."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = [(name, [run.settings.get(name) for run in runs]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]


def _for_script(value: Any) -> str:
    """JSON that no text in it can break out of."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


Style = Literal["line", "faint", "dots", "dashed"]

# Points of a curve; of more, neighbours are averaged.
MOST_POINTS: Final = 1500
# What an evaluation holds that is no curve: counts, and what another number says too.
_NO_CURVES: Final = ("step", "predictions", "pairs", "perplexity", "unigram_entropy", "kind", "best")
_SHARES: Final = ("top1", "top5", "pair_accuracy")
_OF_TRAINING: Final = {
    "lr": "learning rate",
    "gradient_norm": "norm of the gradient",
    "tokens_per_second": "tokens a second",
}
_TITLES: Final = {
    "pair_loss": "held-out loss of pairs",
    "top1": "held-out top-1",
    "top5": "held-out top-5",
    "pair_accuracy": "held-out accuracy of pairs",
}


@dataclass(frozen=True)
class Curve:
    """run: its number, which has a colour, -1 for what is no run's own; x: steps; y: values."""

    name: str
    run: int
    style: Style
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Chart:
    """log: whether values are drawn by their logarithms; percent: whether they are shares."""

    title: str
    curves: list[Curve]
    log: bool = False
    percent: bool = False


def charts_of(runs: Sequence[Run]) -> list[Chart]:
    """Loss first, then what else was held out, then what training did."""
    found = [_losses(runs)]
    for name in _evaluated_names(runs):
        title = _TITLES.get(name, f"{name.replace('_', ' ')}, held out")
        curves = _curves(runs, name, "dots", title, evaluations=True)
        percent = name in _SHARES or all(0 <= value <= 1 for curve in curves for value in curve.y)
        found.append(Chart(title, curves, percent=percent))
    for name, title in _OF_TRAINING.items():
        found.append(Chart(title, _curves(runs, name, "line", title), log=name == "gradient_norm"))
    rates = _curves(runs, "mask_rate", "line", "mask rate")
    if any(len(set(curve.y)) > 1 for curve in rates):
        found.append(Chart("mask rate", rates, percent=True))
    return [chart for chart in found if chart.curves]


def _losses(runs: Sequence[Run]) -> Chart:
    """Training faint, held-out text on top of it, and what knowing only frequencies would give."""
    curves = _curves(runs, "loss", "faint", "in training", both=True)
    for name in ("mlm_loss", "loss"):
        curves += _curves(runs, name, "dots", "held out", both=True, evaluations=True)
    return Chart("loss, nats a prediction", [*curves, *_unigrams(runs)])


def _unigrams(runs: Sequence[Run]) -> list[Curve]:
    """The unigram entropy, one line where all runs have the same."""
    found = {
        place: entropy
        for place, run in enumerate(runs)
        if (entropy := next((number(entry, "unigram_entropy") for entry in run.evaluations), None)) is not None
    }
    lasts = [number(run.steps[-1], "step") or 0.0 for run in runs]
    if len(found) == len(runs) and len(set(found.values())) == 1:
        return [Curve("unigram", -1, "dashed", [0.0, max(lasts)], [found[0]] * 2)]
    return [
        Curve(f"{runs[place].name} unigram", place, "dashed", [0.0, lasts[place]], [entropy] * 2)
        for place, entropy in found.items()
    ]


def _evaluated_names(runs: Sequence[Run]) -> list[str]:
    """What evaluations measured beside the loss, in the order of its first appearance."""
    names: dict[str, None] = {}
    for run in runs:
        for entry in run.evaluations:
            names |= dict.fromkeys(
                name for name, value in entry.items() if name not in _NO_CURVES and isinstance(value, float)
            )
    return [name for name in names if name not in ("mlm_loss", "loss")]


def _curves(
    runs: Sequence[Run], name: str, style: Style, title: str, *, both: bool = False, evaluations: bool = False
) -> list[Curve]:
    """The curve of a number in every run that has it, named by the title, of several runs by the run, or by both."""
    found = []
    for place, run in enumerate(runs):
        x, y = _points(run.evaluations if evaluations else run.steps, name)
        if x:
            called = title if len(runs) == 1 else f"{run.name} {title}" if both else run.name
            found.append(Curve(called, place, style, *_thinned(x, y)))
    return found


def _points(entries: Iterable[Entry], name: str) -> tuple[list[float], list[float]]:
    """The values of each step, of which a run that went back has written some twice: the last counts."""
    found: dict[float, float] = {}
    for entry in entries:
        step, value = number(entry, "step"), number(entry, name)
        if step is not None and value is not None:
            found[step] = value
    ordered = sorted(found.items())
    return [step for step, _ in ordered], [value for _, value in ordered]


def _thinned(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """At most MOST_POINTS points: means over neighbours."""
    width = -(-len(x) // MOST_POINTS)
    if width <= 1:
        return x, y
    groups = range(0, len(x), width)
    return [_mean(x[first : first + width]) for first in groups], [_mean(y[first : first + width]) for first in groups]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def as_data(chart: Chart) -> dict[str, Any]:
    """Plain data for the page."""
    return {
        "title": chart.title,
        "log": chart.log,
        "percent": chart.percent,
        "curves": [vars(curve) for curve in chart.curves],
    }
