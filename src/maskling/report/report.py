"""The report page: one self-contained HTML file with a chart per metric and tables of metrics and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from maskling.files import atomic_write
from maskling.report.runs import Entry, LoadedRun, number
from maskling.version import __version__

Style = Literal["line", "faint", "dots", "dashed"]

# Points per curve; of longer curves, neighbours are averaged.
MAX_POINTS: Final = 1500
# Keys of an evaluation without a chart: counts, and values that follow from others.
_NOT_CHARTED: Final = ("step", "predictions", "pairs", "perplexity", "unigram_entropy", "kind", "best")
_FRACTIONS: Final = ("top1", "top5", "pair_accuracy")
_TRAINING_TITLES: Final = {
    "lr": "learning rate",
    "gradient_norm": "gradient norm",
    "tokens_per_second": "tokens per second",
}
_HELD_OUT_TITLES: Final = {
    "pair_loss": "held-out pair loss",
    "top1": "held-out top-1",
    "top5": "held-out top-5",
    "pair_accuracy": "held-out pair accuracy",
}


@dataclass(frozen=True)
class Curve:
    """A curve. run: index of the run, which decides its colour, -1 for none; x: steps; y: values."""

    name: str
    run: int
    style: Style
    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Chart:
    """A chart of several curves. log: logarithmic axis; percent: values are fractions, shown in percent."""

    title: str
    curves: list[Curve]
    log: bool = False
    percent: bool = False


def write_report(runs: Sequence[LoadedRun], out: Path) -> None:
    """Write the report of `runs` to `out`."""
    with atomic_write(out) as file:
        file.write(page_of(runs).encode("utf-8", "replace"))


def page_of(runs: Sequence[LoadedRun]) -> str:
    """Return the report of `runs` as HTML."""
    environment = Environment(
        loader=PackageLoader("maskling.report", "page"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(["jinja", "html"]),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    charts = [_chart_json(chart) for chart in charts_of(runs)]
    return environment.get_template("report.html.jinja").render(
        runs=runs,
        names=[run.name for run in runs],
        metrics=_metrics_table(runs),
        differing=_differing(runs),
        data=_for_script(charts),
        version=__version__,
        read=lambda name: files("maskling.report").joinpath("page", name).read_text(encoding="utf-8"),
        shown=_shown,
    )


def _metrics_table(runs: Sequence[LoadedRun]) -> list[tuple[str, list[str]]]:
    """Return (name, a value per run) of each row of the metrics table."""
    rows: list[tuple[str, list[str]]] = []

    def row(name: str, values: Sequence[str]) -> None:
        if any(values):
            rows.append((name, list(values)))

    steps = [number(run.steps[-1], "step") or 0 for run in runs]
    row("steps", [f"{n:,.0f} of {run.settings['train.steps']:,}" for n, run in zip(steps, runs, strict=True)])
    row("best at step", [f"{number(run.best, 'step') or 0:,.0f}" if run.best else "" for run in runs])
    names: dict[str, None] = {}
    for run in runs:
        names |= dict.fromkeys(name for name, value in (run.best or {}).items() if isinstance(value, float))
    for name in names:
        row(name.replace("_", " "), [_metric_cell(run.best or {}, name) for run in runs])
    speeds = [sorted(filter(None, (number(entry, "tokens_per_second") for entry in run.steps))) for run in runs]
    row("tokens per second", [f"{some[len(some) // 2]:,.0f}" if some else "" for some in speeds])
    row("ran on", [str(run.machine.get("compute", "")) for run in runs])
    row("processor", [str(run.machine.get("processor", "")) for run in runs])
    row("torch", [str(run.machine.get("torch", "")) for run in runs])
    return rows


def _metric_cell(entry: Entry, name: str) -> str:
    value = number(entry, name)
    return "" if value is None else f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def _differing(runs: Sequence[LoadedRun]) -> list[tuple[str, list[Any]]]:
    """Return the settings in which runs differ, with a value per run."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    rows = [(name, [run.settings.get(name) for run in runs]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]


def _for_script(value: Any) -> str:
    """Return JSON that is safe inside a <script> element."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


# Charts: one per metric, with a curve per run.


def charts_of(runs: Sequence[LoadedRun]) -> list[Chart]:
    """Return the charts: loss first, then other held-out metrics, then training metrics."""
    charts = [_losses(runs)]
    for name in _evaluated_names(runs):
        title = _HELD_OUT_TITLES.get(name, f"held-out {name.replace('_', ' ')}")
        curves = _curves(runs, name, "dots", title, evaluations=True)
        percent = name in _FRACTIONS or all(0 <= value <= 1 for curve in curves for value in curve.y)
        charts.append(Chart(title, curves, percent=percent))
    for name, title in _TRAINING_TITLES.items():
        charts.append(Chart(title, _curves(runs, name, "line", title), log=name == "gradient_norm"))
    rates = _curves(runs, "mask_rate", "line", "mask rate")
    if any(len(set(curve.y)) > 1 for curve in rates):
        charts.append(Chart("mask rate", rates, percent=True))
    return [chart for chart in charts if chart.curves]


def _losses(runs: Sequence[LoadedRun]) -> Chart:
    """Return the chart of losses: training (faint), held-out, and the unigram entropy as a baseline."""
    curves = _curves(runs, "loss", "faint", "training", both=True)
    for name in ("mlm_loss", "loss"):
        curves += _curves(runs, name, "dots", "held-out", both=True, evaluations=True)
    return Chart("loss, nats per prediction", [*curves, *_unigrams(runs)])


def _unigrams(runs: Sequence[LoadedRun]) -> list[Curve]:
    """Return lines of the unigram entropy, a single one if all runs have the same."""
    entropies = {
        index: entropy
        for index, run in enumerate(runs)
        if (entropy := next((number(entry, "unigram_entropy") for entry in run.evaluations), None)) is not None
    }
    lasts = [number(run.steps[-1], "step") or 0.0 for run in runs]
    if len(entropies) == len(runs) and len(set(entropies.values())) == 1:
        return [Curve("unigram", -1, "dashed", [0.0, max(lasts)], [entropies[0]] * 2)]
    return [
        Curve(f"{runs[index].name} unigram", index, "dashed", [0.0, lasts[index]], [entropy] * 2)
        for index, entropy in entropies.items()
    ]


def _evaluated_names(runs: Sequence[LoadedRun]) -> list[str]:
    """Return the held-out metrics other than losses, in order of first appearance."""
    names: dict[str, None] = {}
    for run in runs:
        for entry in run.evaluations:
            names |= dict.fromkeys(
                name for name, value in entry.items() if name not in _NOT_CHARTED and isinstance(value, float)
            )
    return [name for name in names if name not in ("mlm_loss", "loss")]


def _curves(
    runs: Sequence[LoadedRun], name: str, style: Style, title: str, *, both: bool = False, evaluations: bool = False
) -> list[Curve]:
    """Return the curve of a metric in every run that has it.

    A curve is named by the title for a single run, otherwise by the run, or, with `both`, by run and title.
    """
    curves = []
    for index, run in enumerate(runs):
        x, y = _points(run.evaluations if evaluations else run.steps, name)
        if x:
            label = title if len(runs) == 1 else f"{run.name} {title}" if both else run.name
            curves.append(Curve(label, index, style, *_thinned(x, y)))
    return curves


def _points(entries: Iterable[Entry], name: str) -> tuple[list[float], list[float]]:
    """Return steps and values. A run that was rewound has written some steps twice: the last one counts."""
    by_step: dict[float, float] = {}
    for entry in entries:
        step, value = number(entry, "step"), number(entry, name)
        if step is not None and value is not None:
            by_step[step] = value
    ordered = sorted(by_step.items())
    return [step for step, _ in ordered], [value for _, value in ordered]


def _thinned(x: list[float], y: list[float]) -> tuple[list[float], list[float]]:
    """Reduce a curve to at most MAX_POINTS points, by means over neighbours."""
    width = -(-len(x) // MAX_POINTS)
    if width <= 1:
        return x, y
    groups = range(0, len(x), width)
    return [_mean(x[first : first + width]) for first in groups], [_mean(y[first : first + width]) for first in groups]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _chart_json(chart: Chart) -> dict[str, Any]:
    """Return a chart as plain data for the page's script."""
    return {
        "title": chart.title,
        "log": chart.log,
        "percent": chart.percent,
        "curves": [vars(curve) for curve in chart.curves],
    }
