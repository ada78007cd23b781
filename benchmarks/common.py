"""Shared parts of the benchmarks: options, text prepared once, runs in separate processes, a table and its JSON.

The sides take turns, so that other load on the machine affects all of them alike; medians count, and ratios more than
absolute numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import maskling  # noqa: F401 - before torch, as in the tool itself

FOLDER = Path("build/benchmarks")
VOCAB = 16_000
# Options that more than one benchmark takes.
SHARED: dict[str, dict[str, Any]] = {
    "--text": {"nargs": "+", "default": ["python-docs:"], "help": "sources, as for `maskling prepare`"},
    "--threads": {"type": int},
    "--processor-time": {
        "dest": "clock",
        "action": "store_const",
        "const": "process_time",
        "default": "perf_counter",
        "help": "for busy machines; use one thread with it",
    },
    "--quick": {"action": "store_true", "help": "tiny and short, to check that it runs"},
    "--json": {"type": Path, "help": f"file for the rows (default: in {FOLDER})"},
    "--turn": {"help": argparse.SUPPRESS},
}


def parser_of(about: str | None, *shared: str) -> argparse.ArgumentParser:
    """Return a parser with these options of SHARED; `about` is the docstring of the benchmark."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in shared:
        parser.add_argument(name, **SHARED[name])
    return parser


def prepared(sources: Sequence[str], folder: Path = FOLDER) -> Path:
    """Return a prepared folder of the text in `sources`; prepare it if it does not exist."""
    from maskling.config import Layer, resolve
    from maskling.data.prepare.prepare import prepare
    from maskling.data.prepare.settings import PrepareSettings
    from maskling.files import fingerprint

    out = folder / f"data-{fingerprint(list(sources))[:12]}"
    settings = resolve(PrepareSettings, [Layer("benchmark", {"tokenizer": {"vocab_size": VOCAB}})]).settings
    for _ in prepare(sources, out, settings):
        pass
    return out


def lines(sources: Sequence[str], characters: int) -> list[str]:
    """Return the first paragraphs of the text, about `characters` in total."""
    from maskling.corpus.opening import ReadReport
    from maskling.corpus.reading import read_documents
    from maskling.corpus.settings import CorpusSettings
    from maskling.corpus.sources import expand

    report, found, size = ReadReport(), [], 0
    for _, document in read_documents(expand(sources, report), CorpusSettings(), report):
        for line in document.text.splitlines():
            if line.strip():
                found.append(line.strip())
                size += len(line)
        if size >= characters:
            break
    return found


def in_its_own_process(script: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run `script --turn TASK`, whose last line of output is JSON, and return it. A failure is returned as 'error'."""
    command = [sys.executable, script, "--turn", json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer


def timed(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of one call."""
    start = clock()
    run()
    return clock() - start


def alternating(
    runs: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.perf_counter
) -> dict[str, float]:
    """Return the median seconds of each, taking turns, after one warm-up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            took = timed(run, clock)
            if turn:
                seconds[name].append(took)
    return {name: statistics.median(took) for name, took in seconds.items()}


def peak_bytes() -> int:
    """Return the peak memory of this process."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def conditions() -> dict[str, Any]:
    """Return the conditions of the measurement: machine, load, versions."""
    import numpy
    import torch

    from maskling.train.run_folder import processor_name

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "gpu": gpu,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
    }


def report(name: str, rows: Iterable[dict[str, Any]], file: Path | None) -> None:
    """Print rows with the same keys as a table, and write them with the conditions as JSON."""
    rows = list(rows)
    if rows:
        cells = [list(rows[0]), *([_shown(value) for value in row.values()] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
        for row in cells:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    file = file or FOLDER / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"benchmark": name, "conditions": conditions(), "rows": rows}, indent=2) + "\n")
    print(f"written: {file}")


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
