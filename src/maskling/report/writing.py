"""The page: one file that needs nothing else, and asks nobody."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from maskling import __version__
from maskling.files import written_aside
from maskling.report.charts import as_data, charts_of
from maskling.report.runs import Entry, Run, number


def write_report(runs: Sequence[Run], out: Path) -> None:
    """Write the page of some runs to `out`."""
    with written_aside(out) as file:
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
