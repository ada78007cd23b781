"""The report page: one self-contained HTML file with a chart per metric and tables of metrics and settings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from maskling.files import atomic_write
from maskling.report.overview import is_fraction, overview, shown_metric, times_of, tokens_per_step
from maskling.report.runs import Entry, LoadedRun, number
from maskling.version import __version__

Style = Literal["line", "faint", "dots", "dashed"]

# Points per curve; of longer curves, neighbours are averaged.
MAX_POINTS: Final = 1500
# Keys of an evaluation without a chart: counts, and values that follow from others.
_NOT_CHARTED: Final = ("step", "predictions", "pairs", "perplexity", "unigram_entropy", "kind", "best", "time")
# Evaluations whose filled sentences are shown.
_SAMPLES_SHOWN: Final = 8
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
    note: str = ""


def write_report(runs: Sequence[LoadedRun], out: Path, reload_seconds: float | None = None) -> None:
    """Write the report of `runs` to `out`. reload_seconds: see `page_of`."""
    with atomic_write(out) as file:
        file.write(page_of(runs, reload_seconds).encode("utf-8", "replace"))


def page_of(runs: Sequence[LoadedRun], reload_seconds: float | None = None) -> str:
    """Return the report of `runs` as HTML.

    reload_seconds: the page reloads itself this often, because it is written again while a run goes on.
    """
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
        overview=overview(runs),
        states=[run.state for run in runs],
        samples=[(run.name, _samples_of(run)) for run in runs if run.samples],
        data=_for_script(
            {
                "charts": charts,
                "runs": [run.name for run in runs],
                "tokens": [tokens_per_step(run) for run in runs],
                "hours": [[_every(values, 300) for values in times_of(run)] for run in runs],
                "reload": reload_seconds,
            }
        ),
        written=time.strftime("%Y-%m-%d %H:%M:%S"),
        reload_seconds=reload_seconds,
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

    row("best at step", [f"{number(run.best, 'step') or 0:,.0f}" if run.best else "" for run in runs])
    names: dict[str, None] = {}
    for run in runs:
        found = (run.best or {}).items()
        names |= dict.fromkeys(name for name, value in found if isinstance(value, float) and name != "time")
    for name in names:
        row(name.replace("_", " "), [_metric_cell(run.best or {}, name) for run in runs])
    return rows


def _metric_cell(entry: Entry, name: str) -> str:
    return shown_metric(name, number(entry, name))


def _samples_of(run: LoadedRun) -> list[list[tuple[str, list[Any]]]]:
    """Return for each sample its texts at a few evaluations: (step, parts)."""
    chosen = list({entry.get("step"): entry for entry in run.samples}.values())
    if len(chosen) > _SAMPLES_SHOWN:
        last = len(chosen) - 1
        chosen = [chosen[round(index * last / (_SAMPLES_SHOWN - 1))] for index in range(_SAMPLES_SHOWN)]
    found: list[list[tuple[str, list[Any]]]] = []
    for entry in chosen:
        samples = entry.get("samples")
        for index, sample in enumerate(samples if isinstance(samples, list) else []):
            if index == len(found):
                found.append([])
            parts = [part for part in sample if _is_part(part)] if isinstance(sample, list) else []
            found[index].append((f"{number(entry, 'step') or 0:,.0f}", parts))
    return found


def _is_part(part: Any) -> bool:
    """Return whether a part of a sample is a text, or answer, guess and probability."""
    if isinstance(part, str):
        return True
    if not isinstance(part, list) or len(part) != 3:
        return False
    return isinstance(part[0], str) and isinstance(part[1], str) and isinstance(part[2], int | float)


def _every(values: list[float], most: int) -> list[float]:
    """Return at most about `most` of the values, the last among them."""
    width = -(-len(values) // most) or 1
    return values[::width] + (values[-1:] if (len(values) - 1) % width else [])


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
        charts.append(Chart(title, curves, percent=is_fraction(name)))
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
    labelled = all("task.kind" in run.settings for run in runs)
    title = "loss" if labelled else "loss, nats per prediction"
    return Chart(title, [*curves, *_unigrams(runs)], note=_mask_note(runs))


def _mask_note(runs: Sequence[LoadedRun]) -> str:
    """Explain why the held-out loss can lie below the training loss."""
    for run in runs:
        trained, held_out = run.settings.get("masking.rate"), run.settings.get("evaluate.rate")
        if isinstance(trained, float) and isinstance(held_out, float) and trained != held_out:
            harder = "so held-out loss can lie below" if trained > held_out else "so held-out loss can lie above"
            return (
                f"Training hides {100 * trained:.3g} % of the tokens, evaluations {100 * held_out:.3g} %: "
                f"the more is hidden, the harder, {harder} training loss. Compare held-out with held-out."
            )
    return ""


def _unigrams(runs: Sequence[LoadedRun]) -> list[Curve]:
    """Return lines of the unigram entropy, one per distinct value."""
    entropies = {
        index: entropy
        for index, run in enumerate(runs)
        if (entropy := next((number(entry, "unigram_entropy") for entry in run.evaluations), None)) is not None
    }
    lasts = [number(run.steps[-1], "step") or 0.0 for run in runs]
    curves = []
    for value in dict.fromkeys(entropies.values()):
        same = [index for index, entropy in entropies.items() if entropy == value]
        everywhere = len(same) == len(runs)
        name = "unigram" if everywhere else f"{', '.join(runs[index].name for index in same)} unigram"
        end = max(lasts) if everywhere else max(lasts[index] for index in same)
        curves.append(Curve(name, same[0] if len(same) == 1 < len(runs) else -1, "dashed", [0.0, end], [value] * 2))
    return curves


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
        "note": chart.note,
        "curves": [vars(curve) for curve in chart.curves],
    }
