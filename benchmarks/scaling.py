"""Scaling of cost with sequence length, model size, micro-batch, corpus and ranks.

    python benchmarks/scaling.py [--what seq size micro corpus ranks] [--rounds 3] [--quick]

seq, size, micro: one training run each, as in train.py; real tokens per second and peak memory. corpus: `prepare` of
1, 2, 4, ... megabytes. ranks: `torchrun` with 1, 2, ... processes of one thread each; wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import in_its_own_process, lines, parser_of, prepared, report, timed

TRAIN = str(Path(__file__).with_name("train.py"))


def main() -> None:
    parser = parser_of(__doc__, "--text", "--threads", "--processor-time", "--quick", "--json")
    parser.add_argument("--what", nargs="+", default=["seq", "size", "micro", "corpus", "ranks"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.steps = 1, 2
    data = prepared(options.text)
    usual = {
        "side": "maskling",
        "size": "tiny" if options.quick else "mini",
        "seq": 128,
        "tokens": 1024 if options.quick else 8192,
        "data": str(data),
        "text": options.text,
        "steps": options.steps,
        "threads": options.threads,
        "clock": options.clock,
    }
    rows: list[dict[str, Any]] = []
    for what in options.what:
        if what in SERIES:
            name, values = SERIES[what]
            few = values[: 2 if options.quick else None]
            rows += training(what, {value: {**usual, name: value} for value in few}, options)
        elif what == "corpus":
            rows += corpus(options, data)
        elif what == "ranks":
            rows += ranks(data, options)
    report("scaling", rows, options.json)


SERIES: dict[str, tuple[str, list[Any]]] = {
    "seq": ("seq", [64, 128, 256, 512]),
    "size": ("size", ["tiny", "mini", "small", "base"]),
    "micro": ("micro", [1024, 2048, 4096, 8192]),
}


def row(
    what: str, value: Any, speed: float | None, unit: str, peak: float | None = None, note: str = ""
) -> dict[str, Any]:
    return {"what": what, "value": str(value), "speed": speed, "unit": unit, "peak MB": peak, "note": note}


def training(what: str, tasks: dict[Any, dict[str, Any]], options: argparse.Namespace) -> list[dict[str, Any]]:
    found: dict[Any, list[dict[str, Any]]] = {value: [] for value in tasks}
    for _ in range(options.rounds):
        for value, task in tasks.items():
            found[value].append(in_its_own_process(TRAIN, task))
    rows = []
    for value, several in found.items():
        good = [one for one in several if "speed" in one]
        if not good:
            rows.append(row(what, value, None, "tokens/s", note=several[-1]["error"]))
            continue
        speed = statistics.median(one["speed"] for one in good)
        rows.append(row(what, value, speed, "tokens/s", max(one["peak_bytes"] for one in good) / 2**20))
    return rows


def corpus(options: argparse.Namespace, data: Path) -> list[dict[str, Any]]:
    from maskling.config import Layer, resolve
    from maskling.data.prepare.prepare import prepare
    from maskling.data.prepare.settings import PrepareSettings

    tree = {"tokenizer": {"path": str(data / "tokenizer")}}
    settings = resolve(PrepareSettings, [Layer("benchmark", tree)]).settings
    rows = []
    for megabytes in (0.1, 0.2) if options.quick else (1, 2, 4, 8):
        text = lines(options.text, int(megabytes * 1e6))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "text.jsonl"
            documents = ["\n".join(text[first : first + 40]) for first in range(0, len(text), 40)]
            file.write_text("".join(json.dumps({"text": one}) + "\n" for one in documents), encoding="utf-8")
            out = Path(folder) / "data"
            seconds = timed(lambda file=file, out=out: list(prepare([str(file)], out, settings)))
            size = file.stat().st_size / 1e6
            rows.append(row("corpus", f"{size:.1f} MB", size / seconds, "MB/s"))
    return rows


def ranks(data: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "-m", "maskling"]
            command += ["train", "--preset", "tiny" if options.quick else "mini", "--data", str(data), "--out", folder]
            command += ["--train.steps", str(4 if options.quick else 30), "--train.log-every", "1"]
            command += ["--evaluate.examples", "10", "--system.threads", "1"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            journal = Path(folder) / "metrics.jsonl"
            found = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
            speeds = [one["tokens_per_second"] for one in found if "tokens_per_second" in one]
            note = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1][:120]
            rows.append(row("ranks", count, speeds[-1] if speeds else None, "tokens/s", note=note))
    return rows


if __name__ == "__main__":
    main()
